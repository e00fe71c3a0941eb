"use strict";
// The page is whole without this: it only reads a chart's values under the pointer.
const data = JSON.parse(document.getElementById("series").textContent);
for (const figure of document.querySelectorAll("figure[data-chart]")) {
  const chart = data[figure.dataset.chart];
  const svg = figure.querySelector("svg.chart");
  const cursor = svg.querySelector(".cursor");
  const caption = figure.querySelector("figcaption");
  const original = caption.textContent;
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const px = ((event.clientX - box.left) / box.width) * chart.width;
    const share = Math.min(Math.max((px - chart.left) / (chart.right - chart.left), 0), 1);
    const x = chart.x0 + share * (chart.x1 - chart.x0);
    cursor.setAttribute("x1", px);
    cursor.setAttribute("x2", px);
    cursor.style.visibility = px >= chart.left && px <= chart.right ? "visible" : "hidden";
    const values = chart.lines.map(([name, xs, ys]) => {
      let low = 0;
      for (let high = xs.length - 1; low < high; ) {
        const middle = (low + high + 1) >> 1;
        if (xs[middle] <= x) low = middle; else high = middle - 1;
      }
      return xs.length && xs[low] <= x ? `${name} ${Number((chart.logy ? 10 ** ys[low] : ys[low]).toPrecision(3))}` : null;
    });
    const shown = chart.log ? 10 ** x : x;
    caption.textContent = `${chart.xname} ${Number(shown.toPrecision(3))}: ${values.filter(Boolean).join(", ")}`;
  });
  svg.addEventListener("pointerleave", () => {
    cursor.style.visibility = "hidden";
    caption.textContent = original;
  });
}
document.getElementById("self-check").textContent = `${document.querySelectorAll("figure[data-chart]").length} charts ready`;
