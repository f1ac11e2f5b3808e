(() => {
  "use strict";
  const source = document.getElementById("map-data");
  const map = document.getElementById("map-points");
  if (!source || !map) return;
  const data = JSON.parse(source.textContent);
  const names = data.names;
  const points = Array.from(map.querySelectorAll("use"));
  const at = points.map((p) => [Number(p.getAttribute("x")), Number(p.getAttribute("y"))]);
  const box = document.getElementById("map-crop");
  const says = document.getElementById("map-says");
  const last = 6;
  let here = -1;

  const colour = (by) => {
    data.groups[by].forEach((code, i) => {
      points[i].setAttribute("class", code < last ? "c" + code : "rest");
      points[i].setAttribute("href", "#shape" + (code < last ? code % 6 : 0));
    });
    document.querySelectorAll(".map-legend").forEach((one) => { one.hidden = one.dataset.by !== by; });
    if (here >= 0) points[here].classList.add("here");
  };

  const words = (i) => Object.keys(data.groups).map((by) => data.words[by][data.groups[by][i]]).filter(Boolean);

  const show = (i, aloud) => {
    if (here >= 0) points[here].classList.remove("here");
    here = i;
    if (i < 0) { box.hidden = true; return; }
    points[i].classList.add("here");
    const [height, width] = data.cell;
    const crop = box.querySelector("i");
    crop.style.backgroundPosition = -(i % data.columns) * width + "px " + -Math.floor(i / data.columns) * height + "px";
    box.querySelector("span").textContent = names[i] + "\n" + words(i).join(", ");
    box.hidden = false;
    const scale = map.clientWidth / map.viewBox.baseVal.width;
    const room = map.parentElement.clientWidth;
    const left = at[i][0] * scale + 14;
    box.style.left = Math.max(0, left + box.offsetWidth > room ? at[i][0] * scale - box.offsetWidth - 14 : left) + "px";
    box.style.top = Math.max(0, Math.min(at[i][1] * scale - 40, map.clientHeight - box.offsetHeight)) + "px";
    if (aloud) map.append(points[i]); // above its neighbours; not under the pointer, which would enter it anew
    if (aloud) says.textContent = names[i] + ", " + words(i).join(", ");
  };

  const step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  map.addEventListener("pointerover", (event) => {
    const i = points.indexOf(event.target);
    if (i >= 0) show(i, false);
  });
  map.addEventListener("click", (event) => {
    const i = points.indexOf(event.target);
    if (i >= 0) show(i, true);
  });
  map.addEventListener("pointerleave", () => { if (document.activeElement !== map) show(-1, false); });
  map.addEventListener("blur", () => show(-1, false));
  map.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { show(-1, false); return; }
    const way = step[event.key];
    if (!way) return;
    event.preventDefault();
    if (here < 0) { show(0, true); return; }
    let best = -1, least = Infinity;
    at.forEach(([x, y], i) => {
      const dx = x - at[here][0], dy = y - at[here][1];
      const along = dx * way[0] + dy * way[1], across = Math.abs(dx * way[1]) + Math.abs(dy * way[0]);
      if (i === here || along <= 0 || across > 2 * along) return;
      const cost = along + 2 * across;
      if (cost < least) { least = cost; best = i; }
    });
    if (best >= 0) show(best, true);
  });
  document.querySelectorAll('input[name="by"]').forEach((one) => {
    one.addEventListener("change", () => { if (one.checked) colour(one.value); });
  });
})();
