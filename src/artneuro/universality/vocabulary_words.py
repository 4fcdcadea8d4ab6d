"""Words and affixes that vocabulary explanations look for, all in lower case."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PRONOUNS = (
    "i", "you", "he", "she", "it", "we", "they", "me", "him", "her", "us", "them", "my", "your",
    "his", "its", "our", "their", "who",
)  # fmt: skip

SYMBOLS = (*".,;:!?()[]{}<>\"'`-_/\\*+=@#$%&|~^", "–", "—", "’", "“", "”")

SUFFIXES = (
    "able", "al", "an", "ance", "ant", "ar", "ary", "ate", "ation", "cy", "ed", "ee", "en", "ence",
    "ent", "er", "es", "est", "ful", "hood", "ial", "ian", "ible", "ic", "ical", "ify", "ing",
    "ion", "ish", "ism", "ist", "ity", "ive", "ize", "less", "like", "ly", "man", "ment", "ness",
    "or", "ous", "s", "ship", "th", "tion", "ty", "ward", "y",
)  # fmt: skip

PREFIXES = (
    "a", "ab", "ac", "ad", "after", "al", "an", "anti", "ap", "as", "at", "auto", "be", "bi", "ca",
    "ch", "co", "com", "con", "counter", "cr", "de", "di", "dis", "ex", "extra", "for", "fore",
    "ge", "gr", "hyper", "il", "im", "in", "inter", "ir", "li", "ma", "mega", "micro", "mid", "mis",
    "mo", "mono", "multi", "neo", "no", "non", "ob", "off", "out", "over", "par", "per", "ph",
    "poly", "post", "pre", "pro", "pseudo", "qu", "re", "sc", "self", "semi", "sh", "sp", "st",
    "sub", "super", "tele", "th", "tr", "trans", "tri", "ultra", "un", "under", "up", "wh",
)  # fmt: skip

NUMBER_WORDS = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety "
    "hundred thousand million billion trillion dozen half"
)
ORDINALS = _words("first second third fourth fifth sixth seventh eighth ninth tenth last")
ROMAN = _words("ii iii iv vi vii viii ix xi xii xiii xiv xv xvi xvii xviii xix xx")

GROUPS: dict[str, frozenset[str]] = {
    "month": _words(
        "january february march april may june july august september october november december "
        "jan feb mar apr jun jul aug sep sept oct nov dec"
    ),
    "day": _words(
        "monday tuesday wednesday thursday friday saturday sunday mon tue tues wed thu thurs fri "
        "sat sun"
    ),
    "state": _words(
        "alabama alaska arizona arkansas california colorado connecticut delaware florida georgia "
        "hawaii idaho illinois indiana iowa kansas kentucky louisiana maine maryland massachusetts "
        "michigan minnesota mississippi missouri montana nebraska nevada hampshire jersey mexico "
        "york carolina dakota ohio oklahoma oregon pennsylvania rhode tennessee texas utah vermont "
        "virginia washington wisconsin wyoming"
    ),
    "website": _words("http https www com org net edu gov html htm php url href"),
    "length": _words(
        "inch inches foot feet yard yards mile miles meter meters metre metres centimeter "
        "centimeters kilometer kilometers kilometre kilometres acre acres mm cm km ft"
    ),
    "time": _words(
        "second seconds minute minutes hour hours day days week weeks month months year years "
        "decade decades century centuries time times today tomorrow yesterday night morning "
        "evening"
    ),
    "contrast": _words(
        "but however although though despite yet nevertheless nonetheless instead whereas while "
        "unless except rather still"
    ),
    "negation": _words("no not never none nothing nobody neither nor cannot n't"),
    "question": _words("what when where which who whom whose why how whether"),
    "comparison": _words("more most less least better best worse worst than as"),
}
