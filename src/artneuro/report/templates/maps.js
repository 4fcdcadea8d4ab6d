// Points that say their names, move between the truth and the model, and can be picked by colour.
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const NEAR = 14;  // pixels of the screen

  const make = (tag, attributes) => {
    const made = document.createElementNS(SVG, tag);
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    return made;
  };

  // What a picture holds: its points, with their names, here and in the other picture.
  const read = (svg) => [...svg.querySelectorAll(".points circle")].map((circle) => {
    const title = circle.querySelector("title");
    const point = {
      circle,
      x: Number(circle.getAttribute("cx")),
      y: Number(circle.getAttribute("cy")),
      there: circle.dataset.t.split(",").map(Number),
      name: title.textContent,
    };
    title.remove();  // the page shows it, not the browser
    circle.setAttribute("aria-label", point.name);
    return point;
  });

  const setUp = (figure) => {
    const pictures = [...figure.querySelectorAll("svg.map")].map((svg) => ({ svg, points: read(svg) }));
    if (!pictures.some((picture) => picture.points.length)) return;
    const tip = document.createElement("div");
    tip.className = "tip";
    tip.hidden = true;
    figure.append(tip);

    let shown = [];
    const clear = () => {
      tip.hidden = true;
      figure.querySelectorAll(".pointer").forEach((old) => old.remove());
      shown.forEach((circle) => circle.classList.remove("lit"));
      shown = [];
    };

    const say = (picture, index) => {
      clear();
      pictures.forEach(({ svg, points }) => {
        const { circle, x, y, there } = points[index];
        const at = [Number(circle.getAttribute("cx")), Number(circle.getAttribute("cy"))];
        const end = Math.hypot(at[0] - there[0], at[1] - there[1]) < 0.5 ? [x, y] : there;
        const mark = make("g", { class: "pointer" });
        mark.append(
          make("line", { x1: at[0], y1: at[1], x2: end[0], y2: end[1] }),
          make("circle", { cx: end[0], cy: end[1], r: 6 }),
        );
        svg.append(mark);
        circle.classList.add("lit");
        shown.push(circle);
      });
      const { circle, name } = picture.points[index];
      tip.textContent = name;
      tip.hidden = false;
      const box = circle.getBoundingClientRect();
      const home = figure.getBoundingClientRect();
      const left = box.left - home.left + 14;
      tip.style.left = `${Math.max(0, Math.min(left, home.width - tip.offsetWidth))}px`;
      tip.style.top = `${box.top - home.top - tip.offsetHeight - 8}px`;
    };

    pictures.forEach((picture) => {
      const near = (event) => {
        const matrix = picture.svg.getScreenCTM();
        const x = (event.clientX - matrix.e) / matrix.a;
        const y = (event.clientY - matrix.f) / matrix.d;
        let best = -1, least = (NEAR / matrix.a) ** 2;
        picture.points.forEach(({ circle }, i) => {
          if (circle.classList.contains("dim")) return;
          const far = (circle.cx.baseVal.value - x) ** 2 + (circle.cy.baseVal.value - y) ** 2;
          if (far < least) { least = far; best = i; }
        });
        if (best < 0) clear(); else say(picture, best);
      };
      picture.svg.addEventListener("pointermove", near);
      picture.svg.addEventListener("pointerdown", near);
      picture.svg.addEventListener("pointerleave", clear);
    });

    let colour = null, words = "";
    const output = figure.querySelector(".controls output");
    const pick = () => {
      clear();
      const fits = ({ circle, name }) =>
        (colour === null || circle.classList.contains(colour)) && name.toLowerCase().includes(words);
      pictures.forEach(({ points }) => points.forEach((point) => {
        point.circle.classList.toggle("dim", !fits(point));
      }));
      if (!output) return;
      const found = pictures[0].points.map((point, i) => (fits(point) ? i : -1)).filter((i) => i >= 0);
      output.textContent = words ? `${found.length} of ${pictures[0].points.length}` : "";
      if (words && found.length === 1) say(pictures[0], found[0]);
    };

    figure.querySelectorAll(".colours li").forEach((item) => {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-pressed", "false");
      button.title = "Show these alone";
      button.append(...item.childNodes);
      item.append(button);
      button.addEventListener("click", () => {
        colour = colour === item.dataset.style ? null : item.dataset.style;
        figure.querySelectorAll(".colours li").forEach((other) => {
          other.firstChild.setAttribute("aria-pressed", String(other.dataset.style === colour));
        });
        pick();
      });
    });

    const controls = figure.querySelector(".controls");
    if (!controls) return;
    controls.hidden = false;
    const slider = controls.querySelector("input[type=range]");
    const move = () => {
      clear();
      const share = Number(slider.value) / 100;
      pictures[0].points.forEach(({ circle, x, y, there }) => {
        circle.setAttribute("cx", there[0] + share * (x - there[0]));
        circle.setAttribute("cy", there[1] + share * (y - there[1]));
      });
    };
    slider.addEventListener("input", move);
    let playing = 0;
    controls.querySelector(".play").addEventListener("click", () => {
      cancelAnimationFrame(playing);
      const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
      const from = performance.now();
      const step = (now) => {
        const share = still ? 1 : Math.max(0, Math.min(1, (now - from) / 2600));
        slider.value = 100 * (share * share * (3 - 2 * share));
        move();
        if (share < 1) playing = requestAnimationFrame(step);
      };
      playing = requestAnimationFrame(step);
    });
    controls.querySelector(".find").addEventListener("input", (event) => {
      words = event.target.value.trim().toLowerCase();
      pick();
    });
  };

  document.querySelectorAll(".atlas").forEach(setUp);
  document.documentElement.dataset.maps = "ready";
})();
