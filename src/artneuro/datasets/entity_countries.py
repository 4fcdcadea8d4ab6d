"""English names of countries, the same whatever a source calls them, and their continents.

Blocks of countries are held out from probes, so one country must have one name. Names and
continents are those of GeoNames. Parts of the United Kingdom count as it.
"""

from __future__ import annotations

import re
from functools import cache

from artneuro.datasets.entity_names import name_key

# ISO 3166 codes and names by continent.
_COUNTRIES = {
    "Africa": """
        AO Angola; BF Burkina Faso; BI Burundi; BJ Benin; BW Botswana; CD Democratic Republic
        of the Congo; CF Central African Republic; CG Republic of the Congo; CI Ivory Coast;
        CM Cameroon; CV Cabo Verde; DJ Djibouti; DZ Algeria; EG Egypt; EH Western Sahara; ER
        Eritrea; ET Ethiopia; GA Gabon; GH Ghana; GM Gambia; GN Guinea; GQ Equatorial Guinea;
        GW Guinea-Bissau; KE Kenya; KM Comoros; LR Liberia; LS Lesotho; LY Libya; MA Morocco;
        MG Madagascar; ML Mali; MR Mauritania; MU Mauritius; MW Malawi; MZ Mozambique; NA
        Namibia; NE Niger; NG Nigeria; RE Reunion; RW Rwanda; SC Seychelles; SD Sudan; SS
        South Sudan; SH Saint Helena; SL Sierra Leone; SN Senegal; SO Somalia; ST Sao Tome and
        Principe; SZ Eswatini; TD Chad; TG Togo; TN Tunisia; TZ Tanzania; UG Uganda; YT
        Mayotte; ZA South Africa; ZM Zambia; ZW Zimbabwe""",
    "Asia": """
        AE United Arab Emirates; AF Afghanistan; AM Armenia; AZ Azerbaijan; BD Bangladesh; BH
        Bahrain; BN Brunei; BT Bhutan; CC Cocos Islands; CN China; GE Georgia; HK Hong Kong;
        ID Indonesia; IL Israel; IN India; IO British Indian Ocean Territory; IQ Iraq; IR
        Iran; JO Jordan; JP Japan; KG Kyrgyzstan; KH Cambodia; KP North Korea; KR South Korea;
        KW Kuwait; KZ Kazakhstan; LA Laos; LB Lebanon; LK Sri Lanka; MM Myanmar; MN Mongolia;
        MO Macao; MV Maldives; MY Malaysia; NP Nepal; OM Oman; PH Philippines; PK Pakistan; PS
        Palestinian Territory; QA Qatar; SA Saudi Arabia; SG Singapore; SY Syria; TH Thailand;
        TJ Tajikistan; TM Turkmenistan; TR Turkey; TW Taiwan; UZ Uzbekistan; VN Vietnam; YE
        Yemen""",
    "Europe": """
        AD Andorra; AL Albania; AT Austria; AX Aland Islands; BA Bosnia and Herzegovina; BE
        Belgium; BG Bulgaria; BY Belarus; CH Switzerland; CY Cyprus; CZ Czechia; DE Germany;
        DK Denmark; EE Estonia; ES Spain; FI Finland; FO Faroe Islands; FR France; GB United
        Kingdom; GG Guernsey; GI Gibraltar; GR Greece; HR Croatia; HU Hungary; IE Ireland; IM
        Isle of Man; IS Iceland; IT Italy; JE Jersey; XK Kosovo; LI Liechtenstein; LT
        Lithuania; LU Luxembourg; LV Latvia; MC Monaco; MD Moldova; ME Montenegro; MK North
        Macedonia; MT Malta; NL Netherlands; NO Norway; PL Poland; PT Portugal; RO Romania; RS
        Serbia; RU Russia; SE Sweden; SI Slovenia; SJ Svalbard and Jan Mayen; SK Slovakia; SM
        San Marino; UA Ukraine; VA Vatican""",
    "North America": """
        AG Antigua and Barbuda; AI Anguilla; AW Aruba; BB Barbados; BL Saint Barthelemy; BM
        Bermuda; BQ Bonaire, Saint Eustatius and Saba; BS Bahamas; BZ Belize; CA Canada; CR
        Costa Rica; CU Cuba; CW Curacao; DM Dominica; DO Dominican Republic; GD Grenada; GL
        Greenland; GP Guadeloupe; GT Guatemala; HN Honduras; HT Haiti; JM Jamaica; KN Saint
        Kitts and Nevis; KY Cayman Islands; LC Saint Lucia; MF Saint Martin; MQ Martinique; MS
        Montserrat; MX Mexico; NI Nicaragua; PA Panama; PM Saint Pierre and Miquelon; PR
        Puerto Rico; SV El Salvador; SX Sint Maarten; TC Turks and Caicos Islands; TT Trinidad
        and Tobago; US United States; VC Saint Vincent and the Grenadines; VG British Virgin
        Islands; VI U.S. Virgin Islands""",
    "South America": """
        AR Argentina; BO Bolivia; BR Brazil; CL Chile; CO Colombia; EC Ecuador; FK Falkland
        Islands; GF French Guiana; GY Guyana; PE Peru; PY Paraguay; SR Suriname; UY Uruguay;
        VE Venezuela""",
    "Oceania": """
        AS American Samoa; AU Australia; CK Cook Islands; CX Christmas Island; FJ Fiji; FM
        Micronesia; GU Guam; KI Kiribati; MH Marshall Islands; MP Northern Mariana Islands; NC
        New Caledonia; NF Norfolk Island; NR Nauru; NU Niue; NZ New Zealand; PF French
        Polynesia; PG Papua New Guinea; PN Pitcairn; PW Palau; SB Solomon Islands; TK Tokelau;
        TL Timor Leste; TO Tonga; TV Tuvalu; UM United States Minor Outlying Islands; VU
        Vanuatu; WF Wallis and Futuna; WS Samoa""",
    "Antarctica": """
        AQ Antarctica; BV Bouvet Island; GS South Georgia and the South Sandwich Islands; HM
        Heard Island and McDonald Islands; TF French Southern Territories""",
}

# Other names: of DBpedia, of the UN, of former states that lay where a present one lies.
_OTHER_NAMES = {
    "Aland Islands": ["Åland"],
    "Antigua and Barbuda": ["Antigua", "Barbuda"],
    "Azerbaijan": ["Azerbaijan SSR"],
    "Bahamas": ["The Bahamas"],
    "Bolivia": ["Bolivia, Plurinational State of"],
    "Bosnia and Herzegovina": ["Bosnia Herzegovina"],
    "Brunei": ["Brunei Darussalam"],
    "Cabo Verde": ["Cape Verde"],
    "China": ["People's Republic of China", "PRC"],
    "Czechia": ["Czech Republic"],
    "Democratic Republic of the Congo": [
        "DR Congo", "Democratic Republic of Congo", "Congo, The Democratic Republic of the",
        "Congo Kinshasa",
    ],
    "Denmark": ["Kingdom of Denmark", "Danish Realm"],
    "Eswatini": ["Swaziland"],
    "Ethiopia": ["Ethiopian Empire"],
    "Falkland Islands": ["Falkland Islands (Malvinas)"],
    "France": ["French Republic"],
    "Gambia": ["The Gambia"],
    "Georgia": ["Georgia (country)"],
    "Germany": ["German Democratic Republic", "East Germany", "West Germany"],
    "Guernsey": ["Bailiwick of Guernsey"],
    "Hong Kong": ["Hong Kong SAR"],
    "India": ["British Raj"],
    "Iran": ["Iran, Islamic Republic of"],
    "Ireland": ["Republic of Ireland", "Ireland (state)"],
    "Italy": ["Kingdom of Italy"],
    "Ivory Coast": ["Côte d'Ivoire"],
    "Kiribati": ["Republic of Kiribati"],
    "Laos": ["Lao People's Democratic Republic"],
    "Libya": ["Libyan Arab Jamahiriya"],
    "Macao": ["Macau"],
    "Malta": ["Malta (island)", "Malta Colony"],
    "Micronesia": ["Federated States of Micronesia", "Micronesia, Federated States of"],
    "Moldova": ["Moldova, Republic of"],
    "Myanmar": ["Burma", "Myanmar (Burma)"],
    "Netherlands": ["The Netherlands", "Kingdom of the Netherlands"],
    "North Korea": ["Korea, Democratic People's Republic of"],
    "North Macedonia": ["Macedonia", "Republic of Macedonia"],
    "Palestinian Territory": ["State of Palestine", "Palestine", "Palestinian Territories"],
    "Republic of the Congo": ["Congo", "Congo Brazzaville"],
    "Romania": ["Kingdom of Romania"],
    "Russia": ["Russian Federation", "Russian Empire", "Soviet Union"],
    "Saint Kitts and Nevis": ["Nevis", "Saint Kitts"],
    "Saint Vincent and the Grenadines": ["Saint Vincent"],
    "Solomon Islands": ["Solomon Islands (archipelago)"],
    "Somalia": ["Somaliland"],
    "South Korea": ["Korea, Republic of", "Republic of Korea"],
    "Spain": ["Kingdom of Spain"],
    "Syria": ["Syrian Arab Republic"],
    "Taiwan": ["Republic of China", "Republic of China (Taiwan)", "Taiwan, Province of China"],
    "Tanzania": ["Tanzania, United Republic of"],
    "Timor Leste": ["East Timor"],
    "Turkey": ["Türkiye"],
    "U.S. Virgin Islands": ["Virgin Islands, U.S.", "United States Virgin Islands"],
    "United Kingdom": [
        "UK", "Great Britain", "England", "Scotland", "Wales", "Northern Ireland",
        "England, United Kingdom", "Kingdom of England", "Church in Wales", "Cambridgeshire",
        "Conrwall", "Cornwall", "County Durham", "Cumbria", "Derbyshire", "Devon", "Dorset",
        "East Sussex", "Essex", "Gloucestershire", "Hampshire", "Hertfordshire", "Kent",
        "Lancashire", "Leicestershire", "Lincolnshire", "Norfolk", "Northamptonshire",
        "North Yorkshire", "Nottinghamshire", "Oxfordshire", "Rutland", "Somerset",
        "Staffordshire", "Suffolk", "Surrey", "Warwickshire", "West Sussex", "Worcestershire",
    ],
    "British Virgin Islands": ["Virgin Islands, British"],
    "United States": [
        "United States of America", "USA", "US", "Southwestern United States", "Hawaii",
    ],
    "Vatican": ["Vatican City", "Holy See"],
    "Venezuela": ["Venezuela, Bolivarian Republic of"],
    "Vietnam": ["Viet Nam"],
    "Western Sahara": ["Sahrawi Arab Democratic Republic"],
}  # fmt: skip


@cache
def countries() -> dict[str, tuple[str, str]]:
    """Name and continent of every country by its two-letter code."""
    found = {}
    for continent, listed in _COUNTRIES.items():
        for entry in listed.split(";"):
            code, name = entry.split(maxsplit=1)
            found[code] = (" ".join(name.split()), continent)
    return found


@cache
def _names() -> dict[str, tuple[str, str]]:
    """Name and continent of every country by the key of each of its names."""
    own = {name_key(name): (name, continent) for name, continent in countries().values()}
    for name, others in _OTHER_NAMES.items():
        for other in others:
            own[name_key(other)] = own[name_key(name)]
    return own


def country_of(text: str | None) -> tuple[str | None, str | None]:
    """The name and the continent of a country, however it is written.

    Parameters
    ----------
    text : str or None
        A two-letter code, a name, or the end of a DBpedia resource (`United_States`).

    Returns
    -------
    tuple of (str or None, str or None)
        Country and continent. A name that is not known stays as it is, without a continent.
    """
    if text is None or not text.strip():
        return None, None
    code = text.strip()
    if code in countries():
        return countries()[code]
    plain = re.sub(r"\s+", " ", text.replace("_", " ")).strip()
    return _names().get(name_key(plain), (plain, None))
