// Pictures side by side.

function showLegend() {
  at("legend").append(
    el(
      "figcaption",
      { id: "legend-title" },
      "Colour of a bone: by how many standard deviations (z) it is longer than expected. " +
        `From ${drawing.unusual} on it is thicker; the most unusual have their z beside them.`,
    ),
    el(
      "div",
      { class: "scale" },
      el(
        "ul",
        {},
        drawing.labels.map((label, i) =>
          el(
            "li",
            {},
            svg(
              "svg",
              { "aria-hidden": "true", viewBox: "0 0 60 12", preserveAspectRatio: "none" },
              svg("path", { d: "M0 6H60", stroke: drawing.colours[i], "stroke-width": 6 }),
            ),
            label,
          ),
        ),
      ),
      el(
        "div",
        { class: "ends", "aria-hidden": "true" },
        el("span", {}, "too short"),
        el("span", {}, "as expected"),
        el("span", {}, "too long"),
      ),
    ),
  );
}

function card(row, list) {
  const caption = el(
    "span",
    { class: "caption" },
    el(
      "span",
      { class: "line" },
      el("span", { class: "score" }, score(rows.score[row])),
      selected(row) && rows.rank
        ? el("span", {}, `selected, no. ${counted.format(rows.rank[row])}`)
        : selected(row)
          ? el("span", {}, "selected")
          : null,
    ),
    el("span", { class: "name" }, title(row)),
    worstLink[row] < 0
      ? null
      : el(
          "span",
          { class: "what" },
          `${linkWords[worstLink[row]]} z\u00a0${signed(z[row * numLinks + worstLink[row]])}`,
        ),
  );
  return el(
    "li",
    {},
    el(
      "button",
      { type: "button", class: "card", "data-row": row, onclick: () => openPerson(row, list) },
      frame(row, false),
      caption,
    ),
  );
}

function showGalleries() {
  const { galleries } = data;
  const all = [
    ["selected", "Selected, first to annotate first", data.counts.selected],
    ["least", rows.selected ? "Least likely, not selected" : "Least likely", null],
    ["most", rows.selected ? "Most likely, not selected" : "Most likely", null],
  ];
  for (const [name, heading, total] of all) {
    const list = galleries[name];
    if (!list.length) continue;
    const number =
      total > list.length
        ? ` (${counted.format(list.length)} of ${counted.format(total)})`
        : ` (${list.length})`;
    at("galleries").append(
      el("h3", { id: `gallery-${name}` }, heading, el("span", { class: "quiet" }, number)),
      el(
        "ul",
        { class: "gallery", "aria-labelledby": `gallery-${name}` },
        list.map((row) => card(row, list)),
      ),
    );
  }
  if (!at("galleries").childElementCount) {
    at("galleries").append(el("p", {}, "No pose is pictured."));
  }
  for (const name of ["raw", "refined", "expected"]) {
    const box = at(`draw-${name}`);
    const apply = () => document.body.classList.toggle(`hide-${name}`, !box.checked);
    box.addEventListener("change", apply);
    apply(); // a browser may remember the box of an earlier visit
  }
}
