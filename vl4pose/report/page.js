
"use strict";

// Everything that comes from the table is put into the page as text or as an attribute's value,
// never as markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { joints, links, linkNames } = data.skeleton;
  const numJoints = joints.length;
  const numLinks = links.length;
  const rows = data.rows;
  const numRows = rows.image.length;
  const pictures = data.pictures;
  const { drawing } = data;
  const ROWS_OF_A_PAGE = 100;
  const SVG = "http://www.w3.org/2000/svg";

  // --- building blocks ---------------------------------------------------------------------

  function fill(node, properties, children) {
    for (const [name, value] of Object.entries(properties)) {
      if (value === null || value === undefined || value === false) continue;
      if (typeof value === "function") node.addEventListener(name.slice(2), value);
      else node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return node;
  }
  const el = (tag, properties = {}, ...children) =>
    fill(document.createElement(tag), properties, children);
  const svg = (tag, properties = {}, ...children) =>
    fill(document.createElementNS(SVG, tag), properties, children);
  const at = (id) => document.getElementById(id);

  function unpack(text, Numbers) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return new Numbers(bytes.buffer); // little-endian, as every machine with a browser is
  }

  const counted = new Intl.NumberFormat("en");
  const count = (number, one, many = `${one}s`) =>
    `${counted.format(number)} ${number === 1 ? one : many}`;
  const missing = (number) => number === null || number === undefined || Number.isNaN(number);
  const minus = (text) => text.replace("-", "−");
  const fixed = (number, digits) => (missing(number) ? "–" : minus(number.toFixed(digits)));
  const score = (number) =>
    missing(number) ? "–" : Math.abs(number) < 1e5 ? fixed(number, 2) : minus(number.toPrecision(5));
  const signed = (number) =>
    missing(number) ? "–" : Math.abs(number) < 0.05 ? "0.0" : (number > 0 ? "+" : "") + fixed(number, 1);
  const percent = (number) => (missing(number) ? "–" : `${fixed(number, 1)} %`);
  const share = (number) => (missing(number) ? "–" : percent(100 * number));
  const readable = (name) => name.replaceAll("_", " ").replaceAll(">", " to ");
  const linkWords = linkNames.map(readable);
  const jointWords = joints.map(readable);

  // --- the rows, column by column ------------------------------------------------------------

  const z = unpack(rows.z, Float32Array);
  const refinedZ = unpack(rows.refinedZ, Float32Array);
  const logLikelihood = unpack(rows.logLikelihood, Float32Array);
  const entropy = unpack(rows.entropy, Float32Array);
  const confidence = unpack(rows.confidence, Float32Array);
  const keypoints = unpack(rows.keypoints, Int16Array);
  const refined = unpack(rows.refined, Int16Array);
  const peakIndex = unpack(rows.peakIndex, Uint16Array);
  const NO_COORDINATE = -32768;

  const title = (row) =>
    (rows.image[row] ?? "?") + (rows.person[row] === null ? "" : ` #${rows.person[row]}`);
  const selected = (row) => (rows.selected ? rows.selected[row] === 1 : false);

  function status(row) {
    if (rows.error[row] !== null) return `failed: ${rows.error[row]}`;
    if (!rows.status[row]) return "scored";
    return Object.entries(data.status)
      .filter(([bit]) => rows.status[row] & Number(bit))
      .map(([, words]) => words)
      .join(", ");
  }

  /** The place of the largest value of a row, or -1. */
  function largest(values, row, width, of = (value) => value) {
    let best = -1;
    for (let i = 0; i < width; i++) {
      const value = of(values[row * width + i]);
      if (!Number.isNaN(value) && (best < 0 || value > of(values[row * width + best]))) best = i;
    }
    return best;
  }
  const worstLink = Int16Array.from({ length: numRows }, (_, row) =>
    largest(z, row, numLinks, Math.abs),
  );
  const unlikeliestLink = Int16Array.from({ length: numRows }, (_, row) =>
    largest(logLikelihood, row, numLinks, (value) => -value),
  );
  const vaguestJoint = Int16Array.from({ length: numRows }, (_, row) =>
    largest(entropy, row, numJoints),
  );
  const moved = Int16Array.from({ length: numRows }, (_, row) => {
    let number = 0;
    for (let j = 0; j < numJoints; j++) number += peakIndex[row * numJoints + j] > 0;
    return number;
  });

  function point(values, row, joint) {
    const i = 2 * (row * numJoints + joint);
    return values[i] === NO_COORDINATE ? null : [values[i], values[i + 1]];
  }
  function posePoints(row) {
    const exact = pictures[row];
    return {
      raw: exact?.points ?? joints.map((_, j) => point(keypoints, row, j)),
      refined: exact?.refinedPoints ?? joints.map((_, j) => point(refined, row, j)),
    };
  }

  // --- drawing a pose --------------------------------------------------------------------------

  function zClass(value) {
    if (Number.isNaN(value)) return -1;
    const beyond = drawing.classes.slice(3).filter((bound) => Math.abs(value) >= bound).length;
    return 3 + Math.sign(value) * beyond;
  }
  const zColour = (value) => (zClass(value) < 0 ? drawing.noZ : drawing.colours[zClass(value)]);
  const lineTo = (points) => `M${points.map(([x, y]) => `${x} ${y}`).join("L")}`;
  const dot = ([x, y]) => `M${x} ${y}h0`;

  function part(row) {
    return pictures[row]?.part ?? [0, 0, rows.width[row] ?? 1, rows.height[row] ?? 1];
  }
  function viewBox(row) {
    const [x, y, width, height] = part(row); // from the image's corner; 0 is a pixel's centre
    return `${x - 0.5} ${y - 0.5} ${width} ${height}`;
  }

  /** The skeletons of a row over its picture; large ones name more of the unusual bones. */
  function poseDrawing(row, large) {
    const points = posePoints(row);
    const side = Math.max(...part(row).slice(2));
    const image = svg("svg", { viewBox: viewBox(row), "aria-hidden": "true" });
    const width = large ? 4 : 3;
    const size = side * (large ? 0.028 : 0.062); // of letters
    const places = [];
    /** A point on a bone where a label covers no other, or null. */
    function room([x0, y0], [x1, y1]) {
      for (const along of [0.5, 0.35, 0.65, 0.2, 0.8]) {
        const [x, y] = [x0 + along * (x1 - x0), y0 + along * (y1 - y0)];
        if (places.every((p) => Math.abs(p[0] - x) > 2.8 * size || Math.abs(p[1] - y) > 1.1 * size)) {
          places.push([x, y]);
          return [x, y];
        }
      }
      return null;
    }
    for (const kind of ["raw", "refined"]) {
      const values = kind === "raw" ? z : refinedZ;
      const group = svg("g", { class: kind });
      const marks = svg("g", { class: "marks" });
      const labels = svg("g");
      const unusual = links
        .map((_, i) => i)
        .filter((i) => Math.abs(values[row * numLinks + i]) >= drawing.unusual)
        .sort((a, b) => Math.abs(values[row * numLinks + b]) - Math.abs(values[row * numLinks + a]));
      const named = unusual.slice(0, large ? 6 : Number(kind === "raw"));
      const marked = large ? links.map((_, i) => i) : unusual.slice(0, 3);
      const at = points[kind];
      links.forEach(([parent, child], i) => {
        if (!at[parent] || !at[child]) return;
        const value = values[row * numLinks + i];
        const d = lineTo([at[parent], at[child]]);
        const same =
          kind === "refined" &&
          [parent, child].every((j) => peakIndex[row * numJoints + j] === 0) &&
          values[row * numLinks + i] === z[row * numLinks + i];
        const extra = Math.abs(value) >= drawing.unusual ? 1.5 : 0;
        const bone = svg("g", { class: same ? "same" : null });
        bone.append(
          svg("path", { class: "halo", d, "stroke-width": width + extra + 2.5 }),
          svg("path", { class: "bone", d, stroke: zColour(value), "stroke-width": width + extra }),
        );
        group.append(bone);
        const mark = pictures[row]?.[kind === "raw" ? "marks" : "refinedMarks"]?.[i];
        if (mark && marked.includes(i)) {
          const [arc, ends] = mark;
          const shape = lineTo(arc) + lineTo(ends);
          marks.append(
            svg("g", { class: same ? "same" : null },
              svg("path", { class: "expected-halo", d: shape }),
              svg("path", { class: "expected", d: shape }),
            ),
          );
        }
        const free = named.includes(i) && !same ? room(at[parent], at[child]) : null;
        if (free) {
          labels.append(
            svg("text", { class: "z", x: free[0], y: free[1], "font-size": size }, signed(value)),
          );
        }
      });
      if (kind === "raw") {
        const dots = at.filter(Boolean).map(dot).join("");
        group.append(
          svg("path", { class: "joint-halo", d: dots, "stroke-width": large ? 9 : 6.5 }),
          svg("path", { class: "joint", d: dots, "stroke-width": large ? 6 : 4 }),
        );
      }
      group.append(marks, labels);
      image.prepend(group); // the raw pose, which comes first, has the first choice of labels
    }
    return image;
  }

  function frame(row, large) {
    const picture = pictures[row];
    const box = el("span", { class: "frame" });
    const words = picture?.alt ?? "";
    if (picture?.src) {
      const [, , width, height] = picture.part;
      box.append(
        el("img", { src: picture.src, alt: words, width, height, loading: "lazy", decoding: "async" }),
      );
    }
    box.append(poseDrawing(row, large));
    if (!picture?.src) {
      const why = picture
        ? `No picture: ${picture.missing}.`
        : "No picture: this row is not among those that are pictured.";
      box.append(el("span", { class: "missing" }, why), el("span", { class: "hidden" }, ` ${words}`));
    }
    return box;
  }

  // --- the head of the page ---------------------------------------------------------------------

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

  // --- the distribution -------------------------------------------------------------------------

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
      svg("svg", { class: "key", "aria-hidden": "true" },
        svg("rect", { class: name, width: "100%", height: "100%" }),
      );
    const caption = el("figcaption", { id: "distribution-caption" });
    caption.append(
      keyOf("bar"), ` How many of the ${count(histogram.counts.reduce((a, b) => a + b), "score")} ` +
        "lie where: likely poses are to the right.",
    );
    if (withSelection) caption.append(" ", keyOf("bar-selected"), " Those selected.");
    if (histogram.compressed) {
      caption.append(" The axis is compressed to the sides: few scores lie far from the others.");
    }
    const table = el("table", {},
      el("thead", {}, el("tr", {},
        ["Score", "Rows", ...(withSelection ? ["Selected"] : [])].map((name, i) =>
          el("th", { scope: "col", class: i ? "number" : null }, name)),
      )),
      el("tbody", {}, histogram.counts.map((number, i) =>
        el("tr", {},
          el("th", { scope: "row" }, range(i)),
          el("td", { class: "number" }, counted.format(number)),
          withSelection ? el("td", { class: "number" }, counted.format(histogram.selected[i])) : null,
        ))),
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
            class: name, x: x + gap / 2, width: step - gap, y: y(amount),
            height: Math.max(height - bottom - y(amount), amount ? 1.5 : 0),
          });
        const group = svg("g", {}, svg("title", {},
          `${range(i)}: ${count(number, "row")}` +
            (withSelection ? `, ${counted.format(histogram.selected[i])} selected` : "")));
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
          svg("text", { x: left - 6, y: y(amount) + 4, "text-anchor": "end" }, counted.format(amount)),
        );
      }
    }
    new ResizeObserver(draw).observe(drawn);
  }

  // --- pictures ---------------------------------------------------------------------------------

  function showLegend() {
    at("legend").append(
      el("figcaption", { id: "legend-title" },
        "Colour of a bone: by how many standard deviations (z) it is longer than expected. " +
          `From ${drawing.unusual} on it is thicker; the most unusual have their z beside them.`),
      el("div", { class: "scale" }, el("ul", {}, drawing.labels.map((label, i) =>
        el("li", {},
          svg("svg", { "aria-hidden": "true", viewBox: "0 0 60 12", preserveAspectRatio: "none" },
            svg("path", { d: "M0 6H60", stroke: drawing.colours[i], "stroke-width": 6 })),
          label,
        ))),
      el("div", { class: "ends", "aria-hidden": "true" }, el("span", {}, "too short"),
        el("span", {}, "as expected"), el("span", {}, "too long"))),
    );
  }

  function card(row, list) {
    const caption = el("span", { class: "caption" },
      el("span", { class: "line" },
        el("span", { class: "score" }, score(rows.score[row])),
        selected(row) && rows.rank ? el("span", {}, `selected, no. ${counted.format(rows.rank[row])}`)
          : selected(row) ? el("span", {}, "selected") : null,
      ),
      el("span", { class: "name" }, title(row)),
      worstLink[row] < 0 ? null : el("span", { class: "what" },
        `${linkWords[worstLink[row]]} z\u00a0${signed(z[row * numLinks + worstLink[row]])}`),
    );
    return el("li", {},
      el("button", { type: "button", class: "card", "data-row": row, onclick: () => openPerson(row, list) },
        frame(row, false), caption));
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
      const number = total > list.length
        ? ` (${counted.format(list.length)} of ${counted.format(total)})` : ` (${list.length})`;
      at("galleries").append(
        el("h3", { id: `gallery-${name}` }, heading, el("span", { class: "quiet" }, number)),
        el("ul", { class: "gallery", "aria-labelledby": `gallery-${name}` },
          list.map((row) => card(row, list))),
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

  // --- the table --------------------------------------------------------------------------------

  const filters = {
    text: "", link: -1, minZ: null, joint: -1, minEntropy: null, movedOnly: false,
    low: null, high: null, status: "", selected: "",
  };
  const order = { column: rows.selected ? "rank" : "score", descending: false };
  let shown = Array.from({ length: numRows }, (_, row) => row);
  let page = 0;

  const LARGEST_Z = -1;
  const LEAST_LIKELY = -2;
  function linkOf(row) {
    if (filters.link === LARGEST_Z) return worstLink[row];
    return filters.link === LEAST_LIKELY ? unlikeliestLink[row] : filters.link;
  }
  const jointOf = (row) => (filters.joint < 0 ? vaguestJoint[row] : filters.joint);
  const ofLink = (values, row) => (linkOf(row) < 0 ? NaN : values[row * numLinks + linkOf(row)]);
  const ofJoint = (values, row) => (jointOf(row) < 0 ? NaN : values[row * numJoints + jointOf(row)]);

  // key: what a column is sorted by, a number (NaN goes last) or a text; first: the direction of
  // the first click.
  const columns = [
    { id: "name", label: () => "Image", key: title, text: true, classes: "name" },
    rows.selected && {
      id: "rank", label: () => (rows.rank ? "Rank" : "Selected"), number: true,
      key: (row) => (rows.rank ? rows.rank[row] : rows.selected[row] || null) ?? NaN,
      show: (row) => (!selected(row) ? "–" : rows.rank ? counted.format(rows.rank[row]) : "selected"),
    },
    {
      id: "score", label: () => "Score", number: true,
      key: (row) => rows.score[row] ?? NaN, show: (row) => score(rows.score[row]),
    },
    rows.percentile && {
      id: "percentile", label: () => "Percentile", number: true,
      key: (row) => rows.percentile[row] ?? NaN, show: (row) => percent(rows.percentile[row]),
    },
    rows.reasons && {
      id: "why", label: () => "Why", text: true, classes: "why",
      key: (row) => rows.reasons[row] ?? "", show: (row) => el("span", { class: "clamped" }, rows.reasons[row] ?? ""),
    },
    {
      id: "link", text: true,
      label: () => (
        { [LARGEST_Z]: "Bone of largest z", [LEAST_LIKELY]: "Least likely bone" }[filters.link] ?? "Bone"),
      classes: "words", key: (row) => linkWords[linkOf(row)] ?? "", show: (row) => linkWords[linkOf(row)] ?? "–",
    },
    {
      id: "z", label: () => "Its z, by size", number: true, descending: true,
      key: (row) => Math.abs(ofLink(z, row)), show: (row) => signed(ofLink(z, row)),
    },
    {
      id: "likelihood", label: () => "Its log-likelihood", number: true,
      key: (row) => ofLink(logLikelihood, row), show: (row) => score(ofLink(logLikelihood, row)),
    },
    {
      id: "joint", label: () => (filters.joint < 0 ? "Vaguest joint" : "Joint"), text: true, classes: "words",
      key: (row) => jointWords[jointOf(row)] ?? "", show: (row) => jointWords[jointOf(row)] ?? "–",
    },
    {
      id: "entropy", label: () => "Its entropy", number: true, descending: true,
      key: (row) => ofJoint(entropy, row), show: (row) => fixed(ofJoint(entropy, row), 2),
    },
    {
      id: "total", label: () => "Entropy of all", number: true, descending: true,
      key: (row) => rows.totalEntropy[row] ?? NaN, show: (row) => fixed(rows.totalEntropy[row], 2),
    },
    {
      id: "moved", label: () => "Joints moved", number: true, descending: true,
      key: (row) => (rows.error[row] === null ? moved[row] : NaN),
      show: (row) => (rows.error[row] === null ? String(moved[row]) : "–"),
    },
    { id: "status", label: () => "Status", text: true, classes: "words", key: status },
  ].filter(Boolean);

  function passes(row) {
    const f = filters;
    if (f.text && !title(row).toLowerCase().includes(f.text)) return false;
    if (f.selected && selected(row) !== (f.selected === "yes")) return false;
    const value = rows.score[row];
    if (f.low !== null && !(value !== null && value >= f.low)) return false;
    if (f.high !== null && !(value !== null && value <= f.high)) return false;
    if (f.minZ !== null && !(Math.abs(ofLink(z, row)) >= f.minZ)) return false;
    if (f.minEntropy !== null && !(ofJoint(entropy, row) >= f.minEntropy)) return false;
    if (f.movedOnly) {
      if (f.joint < 0 ? !moved[row] : !peakIndex[row * numJoints + f.joint]) return false;
    }
    if (f.status === "failed") return rows.error[row] !== null;
    if (f.status === "scored") return rows.error[row] === null && !rows.status[row];
    if (f.status === "flagged") return rows.error[row] === null && rows.status[row] > 0;
    if (f.status) return rows.error[row] === null && (rows.status[row] & Number(f.status)) > 0;
    return true;
  }

  const collator = new Intl.Collator("en", { numeric: true });
  function arrange() {
    shown = [];
    for (let row = 0; row < numRows; row++) if (passes(row)) shown.push(row);
    const column = columns.find(({ id }) => id === order.column);
    if (column) {
      const sign = order.descending ? -1 : 1;
      const keys = Array.from({ length: numRows });
      for (const row of shown) keys[row] = column.key(row);
      const compare = column.text
        ? (a, b) => sign * collator.compare(keys[a], keys[b])
        : (a, b) => {
            const [x, y] = [keys[a], keys[b]];
            if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
            return sign * (x - y);
          };
      shown.sort(compare);
    }
    page = 0;
    showPage();
    headings();
    announce();
  }

  const headCells = new Map();
  function headings() {
    for (const column of columns) {
      const { cell, button } = headCells.get(column.id);
      button.textContent = column.label();
      const sorted = order.column === column.id;
      if (sorted) cell.setAttribute("aria-sort", order.descending ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    }
  }

  function sortBy(column) {
    if (order.column === column.id) order.descending = !order.descending;
    else [order.column, order.descending] = [column.id, Boolean(column.descending)];
    arrange();
  }

  let announcement;
  function announce() {
    clearTimeout(announcement);
    const column = columns.find(({ id }) => id === order.column);
    const sorting = column
      ? `, sorted by ${column.label().toLowerCase()}, ${order.descending ? "descending" : "ascending"}` : "";
    const text = (shown.length === numRows
      ? count(numRows, "row")
      : `${counted.format(shown.length)} of ${count(numRows, "row")}`) + sorting;
    announcement = setTimeout(() => { at("shown").textContent = text; }, 200);
  }

  const body = el("tbody");
  const pagerWords = el("span");
  const pagerButtons = [
    ["First", () => 0], ["Previous", () => page - 1], ["Next", () => page + 1],
    ["Last", () => lastPage()],
  ].map(([words, target]) =>
    el("button", { type: "button", onclick: () => { page = target(); showPage(); } }, words));
  const lastPage = () => Math.max(0, Math.ceil(shown.length / ROWS_OF_A_PAGE) - 1);

  function showPage() {
    const start = page * ROWS_OF_A_PAGE;
    const part = shown.slice(start, start + ROWS_OF_A_PAGE);
    const list = shown;
    body.replaceChildren(...part.map((row) =>
      el("tr", { class: selected(row) ? "selected" : null },
        columns.map((column, i) => {
          const classes = [column.classes, column.number && "number"].filter(Boolean).join(" ");
          if (i) return el("td", { class: classes || null }, (column.show ?? column.key)(row));
          return el("th", { scope: "row", class: classes },
            el("button", { type: "button", class: "open", onclick: () => openPerson(row, list) }, title(row)));
        }))));
    if (!part.length) {
      body.append(el("tr", {}, el("td", { colspan: columns.length }, "No row passes the filters.")));
    }
    pagerWords.textContent = part.length
      ? `Rows ${counted.format(start + 1)} to ${counted.format(start + part.length)}` : "";
    const [first, previous, next, last] = pagerButtons;
    first.disabled = previous.disabled = page === 0;
    next.disabled = last.disabled = page >= lastPage();
    at("table").scrollTop = 0;
  }

  function field(words, ...controls) {
    return el("label", { class: "field" }, el("span", {}, words), ...controls);
  }

  function showTable() {
    if (numRows < data.counts.rows) {
      at("filters").before(el("p", { class: "note" },
        `The page holds ${counted.format(numRows)} of ${count(data.counts.rows, "row")}: those that ` +
          "are pictured or selected, then the least likely. The distribution is of all."));
    }
    const head = el("tr", {}, columns.map((column) => {
      const button = el("button", { type: "button", onclick: () => sortBy(column) }, column.label());
      const cell = el("th", { scope: "col", class: [column.classes, column.number && "number"].filter(Boolean).join(" ") || null }, button);
      headCells.set(column.id, { cell, button });
      return cell;
    }));
    at("filters").before(el("p", { class: "quiet" },
      "z is of the bone between the highest peaks; its log-likelihood is expected over all peaks, as in the score."));
    at("table").append(el("table", {},
      el("caption", { class: "hidden" }, "One row per person. The buttons in the head sort."),
      el("thead", {}, head), body));
    at("pager").append(pagerWords, ...pagerButtons);

    let waiting = 0;
    const changed = () => {
      cancelAnimationFrame(waiting);
      waiting = requestAnimationFrame(arrange);
    };
    const number = (name, label, step) => el("input", {
      type: "number", step, id: `filter-${name}`, "aria-label": label,
      oninput: (event) => {
        filters[name] = event.target.value === "" ? null : event.target.valueAsNumber;
        changed();
      },
    });
    const choice = (name, options, read) => el("select", {
      id: `filter-${name}`,
      onchange: (event) => { filters[name] = read(event.target.value); changed(); },
    }, options.map(([value, words]) => el("option", { value }, words)));
    const bits = Object.entries(data.status);
    fill(at("filters"), {}, [
      field("Image or person", el("input", {
        type: "search", id: "filter-text", autocomplete: "off", spellcheck: "false",
        oninput: (event) => { filters.text = event.target.value.trim().toLowerCase(); changed(); },
      })),
      el("div", { class: "field" }, el("span", { "aria-hidden": "true" }, "Score"), el("span", { class: "pair" },
        number("low", "Score at least", "any"), "to", number("high", "Score at most", "any"))),
      field("Bone", choice("link", [
        [LARGEST_Z, "largest z of each row"], [LEAST_LIKELY, "least likely of each row"], ...linkWords.map((w, i) => [i, w])], Number)),
      field("z beyond ±", number("minZ", "z beyond plus or minus", "0.5")),
      field("Joint", choice("joint", [[-1, "vaguest of each row"], ...jointWords.map((w, i) => [i, w])], Number)),
      field("Entropy at least", number("minEntropy", "Entropy at least", "0.1")),
      el("label", {}, el("input", {
        type: "checkbox", id: "filter-movedOnly",
        onchange: (event) => { filters.movedOnly = event.target.checked; changed(); },
      }), " moved by refinement"),
      field("Status", choice("status", [
        ["", "any"], ["scored", "scored, no flag"], ["flagged", "flagged"],
        ...bits.map(([bit, words]) => [bit, `flagged: ${words}`]), ["failed", "failed"],
      ], String)),
      rows.selected ? field("Selection", choice("selected",
        [["", "all"], ["yes", "selected"], ["no", "not selected"]], String)) : null,
      el("button", { type: "reset" }, "Clear"),
    ]);
    at("filters").addEventListener("submit", (event) => event.preventDefault());
    at("filters").addEventListener("reset", () => {
      Object.assign(filters, {
        text: "", link: -1, minZ: null, joint: -1, minEntropy: null, movedOnly: false,
        low: null, high: null, status: "", selected: "",
      });
      changed();
    });
    at("filters").reset(); // what a browser remembers of an earlier visit
    arrange();
  }

  // --- one person -------------------------------------------------------------------------------

  const dialog = at("person");
  const heading = el("h2", { id: "person-title", tabindex: "-1", autofocus: true });
  const content = el("div", { class: "person" });
  let current = { row: 0, list: [0] };

  function openPerson(row, list) {
    current = { row, list };
    showPerson();
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  }

  function stepPerson(step) {
    const place = current.list.indexOf(current.row) + step;
    if (place >= 0 && place < current.list.length) openPerson(current.list[place], current.list);
  }
  const previousButton = el("button", { type: "button", onclick: () => stepPerson(-1) }, "Previous");
  const nextButton = el("button", { type: "button", onclick: () => stepPerson(1) }, "Next");

  function rowsTable(caption, heads, lines) {
    return el("div", { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
      el("table", {},
        el("caption", { class: "hidden" }, caption),
        el("thead", {}, el("tr", {}, heads.map((head, i) =>
          el("th", { scope: "col", class: i ? "number" : null }, head)))),
        el("tbody", {}, lines.map((cells) => el("tr", {}, cells.map((cell, i) =>
          el(i ? "td" : "th", { class: i ? "number" : null, scope: i ? null : "row" }, cell)))))));
  }

  function showPerson() {
    const { row, list } = current;
    const picture = pictures[row];
    heading.textContent = title(row);
    const place = list.indexOf(row);
    // Disabled for good, a button would lose the focus that it has when the end is reached.
    for (const [button, end] of [[previousButton, place <= 0], [nextButton, place >= list.length - 1]]) {
      button.setAttribute("aria-disabled", String(end));
    }
    const failed = rows.error[row] !== null;
    const large = frame(row, true);
    const pictureColumn = el("div", { class: "picture" }, large);
    const panel = el("div");
    const told = el("p", { role: "status" });
    const select = el("select", { id: "person-joint", onchange: () => showJoint(Number(select.value)) },
      el("option", { value: -1 }, "none"),
      jointWords.map((words, j) => el("option", { value: j }, words)));
    const hasPeaks = Boolean(picture?.peaks.length);
    if (hasPeaks) {
      const what = picture.heatmaps ? "Heatmap and peaks of" : "Peaks of";
      pictureColumn.append(
        el("p", { class: "chosen" }, el("label", { for: "person-joint" }, what), select), told, panel);
      if (picture.changed) {
        pictureColumn.append(el("p", { class: "note" },
          "These heatmaps are not those that were scored: the image has changed since."));
      }
      if (!picture.heatmaps) {
        panel.append(el("p", { class: "quiet" },
          "The page was made without the pose network, so that it has peaks and weights but no heatmaps."));
      }
    } else if (!failed) {
      pictureColumn.append(el("p", { class: "quiet" }, "The peaks are in the page only for people that are pictured."));
    }
    const overlay = svg("g");
    large.querySelector("svg").append(overlay);

    const buttons = [];
    function showJoint(joint) {
      select.value = joint;
      buttons.forEach((button, j) => button.setAttribute("aria-pressed", String(j === joint)));
      pictureColumn.classList.toggle("with-joint", joint >= 0);
      overlay.replaceChildren();
      panel.replaceChildren();
      told.textContent = "";
      if (joint < 0) return;
      if (picture.heatmaps) overlay.append(heatmap(picture, joint));
      const peaks = picture.peaks[joint] ?? [];
      const chosen = peakIndex[row * numJoints + joint];
      told.textContent =
        `${count(peaks.length, "peak")} of ${jointWords[joint]}; the refined pose has number ${chosen + 1}.`;
      const side = Math.max(...part(row).slice(2));
      peaks.forEach(([x, y, weight], k) => {
        const r = side * (0.012 + 0.035 * Math.sqrt(weight));
        const kept = k === chosen ? "peak kept" : "peak";
        overlay.append(
          svg("circle", { class: "peak-halo", cx: x, cy: y, r }),
          svg("circle", { class: kept, cx: x, cy: y, r }),
          svg("text", { class: "peak-name", x: x + r, y: y - r, "font-size": side * 0.035 }, String(k + 1)),
        );
      });
      panel.append(
        rowsTable(`Peaks of ${jointWords[joint]}, highest first`,
          ["Peak", "x", "y", "Weight", "Posterior"],
          peaks.map(([x, y, weight, posterior], k) => [
            `${k + 1}${k === chosen ? ", refined" : ""}`,
            fixed(x, 1), fixed(y, 1), share(weight), share(posterior)])),
        el("p", { class: "quiet" },
          "A circle for each peak, larger with its weight. " +
            (picture.heatmaps ? "The map is bright where it is highest. " : "") +
            "The posterior is the weight once the bones have had their say."),
      );
    }

    const facts = [["Score", score(rows.score[row])]];
    if (rows.logProb[row] !== null) facts.push(["Log-probability of the refined pose", score(rows.logProb[row])]);
    if (selected(row)) {
      const by = rows.chosen_by?.[row] ? `, chosen by ${rows.chosen_by[row]}` : "";
      facts.push(["Selected", rows.rank ? `number ${counted.format(rows.rank[row])}${by}` : `yes${by}`]);
    }
    if (!missing(rows.priority?.[row])) facts.push(["Priority", score(rows.priority[row])]);
    if (!missing(rows.percentile?.[row])) facts.push(["Percentile", percent(rows.percentile[row])]);
    facts.push(["Status", status(row)]);
    const swaps = (rows.swap_suspects?.[row] ?? []).filter(({ gain }) => gain >= data.leastGain);
    if (swaps.length) {
      facts.push(["Left and right may be exchanged", swaps
        .map(({ pair, gain }) => `${readable(pair).replace("/", " and ")} (likelier by ${fixed(gain, 1)} nats)`).join("; ")]);
    }
    const worst = rows.worst_links?.[row] ?? [];
    if (worst.length) {
      facts.push(["Least likely bones", worst
        .map((w) => `${readable(w.link)} ${fixed(w.log_likelihood, 1)}${
          missing(w.percentile) ? "" : ` (percentile ${fixed(w.percentile, 1)})`}`).join("; ")]);
    }
    const vague = rows.ambiguous_joints?.[row] ?? [];
    if (vague.length && !hasPeaks) { // else the table of joints says it
      facts.push(["Joints with several peaks", vague
        .map((v) => `${readable(v.joint)} (${v.num_peaks}, entropy ${fixed(v.entropy, 2)})`).join("; ")]);
    }
    const words = rows.reasons?.[row] ?? picture?.alt;
    const side = el("div", {},
      words ? el("p", {}, words) : null,
      el("dl", { class: "facts" }, facts.flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)])));
    if (!failed) {
      const lengths = picture?.lengths;
      side.append(
        el("h3", {}, "Bones"),
        el("p", { class: "quiet" }, "z is of the highest peaks, the log-likelihood is expected over all peaks, as in the score."),
        rowsTable("Bones, lengths in heatmap pixels",
          ["Bone", "z", "z refined", "Log-likelihood", ...(lengths ? ["Length", "Expected"] : [])],
          links.map((_, i) => [
            linkWords[i], signed(z[row * numLinks + i]), signed(refinedZ[row * numLinks + i]),
            fixed(logLikelihood[row * numLinks + i], 2),
            ...(lengths ? [fixed(lengths[i][0], 1), `${fixed(lengths[i][1], 1)} ± ${fixed(lengths[i][2], 1)}`] : []),
          ])),
        el("h3", {}, "Joints"),
        rowsTable("Joints",
          ["Joint", "Entropy", "Confidence", ...(hasPeaks ? ["Peaks"] : []), "Refined to"],
          joints.map((_, j) => {
            const button = hasPeaks ? el("button", {
              type: "button", class: "open", "aria-pressed": "false",
              onclick: () => {
                showJoint(Number(select.value) === j ? -1 : j);
                pictureColumn.scrollIntoView({ block: "nearest" });
              },
            }, jointWords[j]) : null;
            if (button) buttons.push(button);
            const i = row * numJoints + j;
            const weighty = hasPeaks ? (picture.peaks[j] ?? []).filter((peak) => peak[2] >= data.leastPeakWeight).length : 0;
            return [button ?? jointWords[j], fixed(entropy[i], 2), fixed(confidence[i], 2),
              ...(hasPeaks ? [String(weighty)] : []), peakIndex[i] ? `peak ${peakIndex[i] + 1}` : "–"];
          })),
      );
    }
    content.replaceChildren(pictureColumn, side);
  }

  /** One joint's map out of the sheet of all, over its part of the image. */
  function heatmap(picture, joint) {
    const [x, y, width, height] = picture.heatmapPlace;
    return svg("svg", {
      x: x - 0.5, y: y - 0.5, width, height, viewBox: `${joint} 0 1 1`, preserveAspectRatio: "none",
    }, svg("image", {
      href: picture.heatmaps, width: numJoints, height: 1, preserveAspectRatio: "none",
      filter: "url(#heat)",
    }));
  }

  dialog.append(
    el("div", { class: "bar-top" }, heading, previousButton, nextButton,
      el("button", { type: "button", onclick: () => dialog.close() }, "Close")),
    content,
  );
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // the ground around it
  });

  showHead();
  showDistribution();
  showLegend();
  showGalleries();
  showTable();
  // At once and complete: nothing that a reader has begun with moves.
  for (const part of document.querySelectorAll("body > header, main")) part.hidden = false;
})();
