// The head of the page, and how the scores are distributed.

function showHead() {
  const { counts } = data;
  at("lead").append(
    el("strong", {}, data.name),
    ": the score of a pose is the log-likelihood that its bones have the lengths one expects. " +
      "Low scores are poses that the networks find strange, and the images worth a label.",
  );
  const pairs = [
    [counts.rows, "rows"],
    [counts.scored, "scored"],
    [counts.flagged, "flagged"],
    [counts.failed, "failed"],
  ];
  if (rows.selected) pairs.push([counts.selected, "selected"]);
  at("counts").append(
    ...pairs.map(([number, words]) =>
      el("div", {}, el("dt", {}, words), el("dd", {}, counted.format(number))),
    ),
  );
  at("about").append(
    ...data.about.flatMap(([heading, text]) => [el("dt", {}, heading), el("dd", {}, text)]),
  );
}

function showDistribution() {
  const place = at("distribution");
  const { histogram } = data;
  if (!histogram) {
    place.append(el("p", {}, "No row has a score."));
    return;
  }
  const most = Math.max(...histogram.counts);
  const withSelection = Boolean(rows.selected);
  const range = (i) => `${score(histogram.edges[i])} to ${score(histogram.edges[i + 1])}`;
  const drawn = svg("svg", { role: "img", "aria-labelledby": "distribution-caption" });
  const keyOf = (name) =>
    svg(
      "svg",
      { class: "key", "aria-hidden": "true" },
      svg("rect", { class: name, width: "100%", height: "100%" }),
    );
  const caption = el("figcaption", { id: "distribution-caption" });
  caption.append(
    keyOf("bar"),
    ` How many of the ${count(
      histogram.counts.reduce((a, b) => a + b),
      "score",
    )} ` + "lie where: likely poses are to the right.",
  );
  if (withSelection) caption.append(" ", keyOf("bar-selected"), " Those selected.");
  if (histogram.compressed) {
    caption.append(" The axis is compressed to the sides: few scores lie far from the others.");
  }
  const table = el(
    "table",
    {},
    el(
      "thead",
      {},
      el(
        "tr",
        {},
        ["Score", "Rows", ...(withSelection ? ["Selected"] : [])].map((name, i) =>
          el("th", { scope: "col", class: i ? "number" : null }, name),
        ),
      ),
    ),
    el(
      "tbody",
      {},
      histogram.counts.map((number, i) =>
        el(
          "tr",
          {},
          el("th", { scope: "row" }, range(i)),
          el("td", { class: "number" }, counted.format(number)),
          withSelection
            ? el("td", { class: "number" }, counted.format(histogram.selected[i]))
            : null,
        ),
      ),
    ),
  );
  const numbers = el("details", {}, el("summary", {}, "The same in numbers"), table);
  place.append(el("figure", {}, drawn, caption), numbers);

  const height = 220;
  const [left, right, top, bottom] = [44, 12, 10, 24];
  function draw() {
    const width = drawn.clientWidth || 600;
    drawn.setAttribute("viewBox", `0 0 ${width} ${height}`);
    drawn.replaceChildren();
    const step = (width - left - right) / histogram.counts.length;
    const y = (number) => height - bottom - (number / most) * (height - top - bottom);
    histogram.counts.forEach((number, i) => {
      const x = left + i * step;
      const gap = Math.min(1, step / 4);
      const bar = (name, amount) =>
        svg("rect", {
          class: name,
          x: x + gap / 2,
          width: step - gap,
          y: y(amount),
          height: Math.max(height - bottom - y(amount), amount ? 1.5 : 0),
        });
      const group = svg(
        "g",
        {},
        svg(
          "title",
          {},
          `${range(i)}: ${count(number, "row")}` +
            (withSelection ? `, ${counted.format(histogram.selected[i])} selected` : ""),
        ),
      );
      group.append(bar("bar", number));
      if (histogram.selected[i]) group.append(bar("bar-selected", histogram.selected[i]));
      drawn.append(group);
    });
    const base = height - bottom;
    drawn.append(svg("path", { class: "axis", d: `M${left} ${base}H${width - right}` }));
    let taken = 0; // by labels, from the left
    for (const [value, where] of histogram.ticks) {
      const x = left + where * (width - left - right);
      const words = minus(String(value));
      drawn.append(svg("path", { class: "axis", d: `M${x} ${base}v4` }));
      const half = words.length * 3.8 + 2;
      if (x - half < taken) continue;
      taken = x + half;
      drawn.append(svg("text", { x, y: base + 17, "text-anchor": "middle" }, words));
    }
    for (const amount of new Set([0, most])) {
      drawn.append(
        svg(
          "text",
          { x: left - 6, y: y(amount) + 4, "text-anchor": "end" },
          counted.format(amount),
        ),
      );
    }
  }
  new ResizeObserver(draw).observe(drawn);
}
