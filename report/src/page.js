// The map answers to a pointer, a finger and the keys. Without this script its points are still links.
(() => {
  "use strict";
  const plot = document.getElementById("map-plot");
  if (!plot) return;
  const points = JSON.parse(document.getElementById("data").textContent).map.points;
  const svg = plot.querySelector("svg");
  const tip = document.getElementById("map-tip");
  const links = [...svg.querySelectorAll(".dots a")];
  const places = links.map((link) => link.firstChild.getAttribute("d").slice(1, -2).split(" ").map(Number));
  const ring = document.createElementNS("http://www.w3.org/2000/svg", "path");
  ring.setAttribute("class", "ring");
  svg.append(ring);
  let current = -1;

  const shown = (index) => {
    const chosen = document.querySelector('input[name="group"]:checked');
    return !chosen || chosen.id === "g-all" || links[index].classList.contains(chosen.id);
  };
  const scale = () => svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;

  const hide = () => {
    current = -1;
    tip.hidden = true;
    ring.removeAttribute("d");
  };

  const show = (index, linked) => {
    if (index === current && !linked) return;
    current = index;
    const { title, bibcode, group } = points[index];
    const about = document.createElement(linked ? "a" : "span");
    about.textContent = bibcode;
    if (linked) Object.assign(about, { href: links[index].getAttribute("href"), target: "_blank" });
    const heading = document.createElement("b");
    heading.textContent = title || "";
    tip.replaceChildren(heading, about, group ? ` · ${group}` : "");
    tip.hidden = false;
    ring.setAttribute("d", `M${places[index].join(" ")}h0`);
    const [x, y] = places[index].map((at) => at * scale());
    const left = Math.min(Math.max(x - tip.offsetWidth / 2, 0), plot.clientWidth - tip.offsetWidth);
    const above = y - tip.offsetHeight - 14;
    tip.style.left = `${Math.max(left, 0)}px`;
    tip.style.top = `${above < 0 ? y + 14 : above}px`;
  };

  // The nearest point, within so many pixels; `fits` says which may be it.
  const nearest = (x, y, within, fits) => {
    let best = -1;
    let least = within * within;
    places.forEach(([px, py], index) => {
      const distance = (px - x) ** 2 + (py - y) ** 2;
      if (distance < least && fits(index)) [best, least] = [index, distance];
    });
    return best;
  };
  const under = (event, reach) => {
    const box = svg.getBoundingClientRect();
    return nearest((event.clientX - box.left) / scale(), (event.clientY - box.top) / scale(), reach / scale(), shown);
  };

  svg.addEventListener("pointermove", (event) => {
    if (event.pointerType === "touch") return;
    const index = under(event, 16);
    svg.style.cursor = index < 0 ? "" : "pointer";
    if (index < 0) hide();
    else show(index, false);
  });
  svg.addEventListener("pointerleave", (event) => {
    if (event.pointerType !== "touch") hide();
  });
  // A mouse opens the paper that it shows; a finger first shows it, with a link. Not every browser's click tells which.
  let touch = false;
  svg.addEventListener("pointerdown", (event) => {
    touch = event.pointerType === "touch";
  });
  svg.addEventListener("click", (event) => {
    const index = under(event, touch ? 28 : 16);
    event.preventDefault();
    if (index < 0) hide();
    else if (touch) show(index, true);
    else window.open(links[index].getAttribute("href"), "_blank", "noopener");
  });

  const ways = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  plot.tabIndex = 0;
  plot.setAttribute("role", "application");
  plot.setAttribute("aria-label", "Map of papers: arrow keys go from paper to paper, Enter opens one at ADS");
  plot.addEventListener("keydown", (event) => {
    const way = ways[event.key];
    if (way) {
      event.preventDefault();
      const { width, height } = svg.viewBox.baseVal;
      const [x, y] = current < 0 ? [width / 2, height / 2] : places[current];
      const ahead = (index) => {
        const [dx, dy] = [places[index][0] - x, places[index][1] - y];
        const along = dx * way[0] + dy * way[1];
        return along > 0 && along >= Math.abs(dx * way[1] + dy * way[0]);
      };
      const index = nearest(x, y, Infinity, (at) => at !== current && shown(at) && (current < 0 || ahead(at)));
      if (index >= 0) show(index, false);
    } else if (event.key === "Enter" && current >= 0) {
      window.open(links[current].getAttribute("href"), "_blank", "noopener");
    } else if (event.key === "Escape") {
      hide();
    }
  });
  plot.addEventListener("focusout", (event) => {
    if (!plot.contains(event.relatedTarget)) hide();
  });
  document.querySelector(".groups")?.addEventListener("change", hide);
})();
