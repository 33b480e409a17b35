// The table: a page of its rows at a time, so that ten thousand do not take longer than a hundred.

const ROWS_OF_A_PAGE = 100;

const filters = {
  text: "",
  link: -1,
  minZ: null,
  joint: -1,
  minEntropy: null,
  movedOnly: false,
  low: null,
  high: null,
  status: "",
  selected: "",
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
    id: "rank",
    label: () => (rows.rank ? "Rank" : "Selected"),
    number: true,
    key: (row) => (rows.rank ? rows.rank[row] : rows.selected[row] || null) ?? NaN,
    show: (row) => (!selected(row) ? "–" : rows.rank ? counted.format(rows.rank[row]) : "selected"),
  },
  {
    id: "score",
    label: () => "Score",
    number: true,
    key: (row) => rows.score[row] ?? NaN,
    show: (row) => score(rows.score[row]),
  },
  rows.percentile && {
    id: "percentile",
    label: () => "Percentile",
    number: true,
    key: (row) => rows.percentile[row] ?? NaN,
    show: (row) => percent(rows.percentile[row]),
  },
  rows.reasons && {
    id: "why",
    label: () => "Why",
    text: true,
    classes: "why",
    key: (row) => rows.reasons[row] ?? "",
    show: (row) => el("span", { class: "clamped" }, rows.reasons[row] ?? ""),
  },
  {
    id: "link",
    text: true,
    label: () =>
      ({ [LARGEST_Z]: "Bone of largest z", [LEAST_LIKELY]: "Least likely bone" })[filters.link] ??
      "Bone",
    classes: "words",
    key: (row) => linkWords[linkOf(row)] ?? "",
    show: (row) => linkWords[linkOf(row)] ?? "–",
  },
  {
    id: "z",
    label: () => "Its z, by size",
    number: true,
    descending: true,
    key: (row) => Math.abs(ofLink(z, row)),
    show: (row) => signed(ofLink(z, row)),
  },
  {
    id: "likelihood",
    label: () => "Its log-likelihood",
    number: true,
    key: (row) => ofLink(logLikelihood, row),
    show: (row) => score(ofLink(logLikelihood, row)),
  },
  {
    id: "joint",
    label: () => (filters.joint < 0 ? "Vaguest joint" : "Joint"),
    text: true,
    classes: "words",
    key: (row) => jointWords[jointOf(row)] ?? "",
    show: (row) => jointWords[jointOf(row)] ?? "–",
  },
  {
    id: "entropy",
    label: () => "Its entropy",
    number: true,
    descending: true,
    key: (row) => ofJoint(entropy, row),
    show: (row) => fixed(ofJoint(entropy, row), 2),
  },
  {
    id: "total",
    label: () => "Entropy of all",
    number: true,
    descending: true,
    key: (row) => rows.totalEntropy[row] ?? NaN,
    show: (row) => fixed(rows.totalEntropy[row], 2),
  },
  {
    id: "moved",
    label: () => "Joints moved",
    number: true,
    descending: true,
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
    ? `, sorted by ${column.label().toLowerCase()}, ${order.descending ? "descending" : "ascending"}`
    : "";
  const text =
    (shown.length === numRows
      ? count(numRows, "row")
      : `${counted.format(shown.length)} of ${count(numRows, "row")}`) + sorting;
  announcement = setTimeout(() => {
    at("shown").textContent = text;
  }, 200);
}

const body = el("tbody");
const pagerWords = el("span");
const pagerButtons = [
  ["First", () => 0],
  ["Previous", () => page - 1],
  ["Next", () => page + 1],
  ["Last", () => lastPage()],
].map(([words, target]) =>
  el(
    "button",
    {
      type: "button",
      onclick: () => {
        page = Math.min(Math.max(target(), 0), lastPage());
        showPage();
      },
    },
    words,
  ),
);
const lastPage = () => Math.max(0, Math.ceil(shown.length / ROWS_OF_A_PAGE) - 1);

function showPage() {
  const start = page * ROWS_OF_A_PAGE;
  const onPage = shown.slice(start, start + ROWS_OF_A_PAGE);
  const list = shown;
  body.replaceChildren(
    ...onPage.map((row) =>
      el(
        "tr",
        { class: selected(row) ? "selected" : null },
        columns.map((column, i) => {
          const classes = [column.classes, column.number && "number"].filter(Boolean).join(" ");
          if (i) return el("td", { class: classes || null }, (column.show ?? column.key)(row));
          return el(
            "th",
            { scope: "row", class: classes },
            el(
              "button",
              { type: "button", class: "open", onclick: () => openPerson(row, list) },
              title(row),
            ),
          );
        }),
      ),
    ),
  );
  if (!onPage.length) {
    body.append(el("tr", {}, el("td", { colspan: columns.length }, "No row passes the filters.")));
  }
  pagerWords.textContent = onPage.length
    ? `Rows ${counted.format(start + 1)} to ${counted.format(start + onPage.length)}`
    : "";
  const [first, previous, next, last] = pagerButtons;
  for (const button of [first, previous]) setUnavailable(button, page === 0);
  for (const button of [next, last]) setUnavailable(button, page >= lastPage());
  at("table").scrollTop = 0;
}

function field(words, ...controls) {
  return el("label", { class: "field" }, el("span", {}, words), ...controls);
}

function showTable() {
  if (numRows < data.counts.rows) {
    at("filters").before(
      el(
        "p",
        { class: "note" },
        `The page holds ${counted.format(numRows)} of ${count(data.counts.rows, "row")}: those that ` +
          "are pictured or selected, then the least likely. The distribution is of all.",
      ),
    );
  }
  const head = el(
    "tr",
    {},
    columns.map((column) => {
      const button = el(
        "button",
        { type: "button", onclick: () => sortBy(column) },
        column.label(),
      );
      const cell = el(
        "th",
        {
          scope: "col",
          class: [column.classes, column.number && "number"].filter(Boolean).join(" ") || null,
        },
        button,
      );
      headCells.set(column.id, { cell, button });
      return cell;
    }),
  );
  at("filters").before(
    el(
      "p",
      { class: "quiet" },
      "z is of the bone between the highest peaks; its log-likelihood is expected over all peaks, as in the score.",
    ),
  );
  at("table").append(
    el(
      "table",
      {},
      el("caption", { class: "hidden" }, "One row per person. The buttons in the head sort."),
      el("thead", {}, head),
      body,
    ),
  );
  at("pager").append(pagerWords, ...pagerButtons);

  let waiting = 0;
  const changed = () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(arrange);
  };
  const number = (name, label, step) =>
    el("input", {
      type: "number",
      step,
      id: `filter-${name}`,
      "aria-label": label,
      oninput: (event) => {
        filters[name] = event.target.value === "" ? null : event.target.valueAsNumber;
        changed();
      },
    });
  const choice = (name, options, read) =>
    el(
      "select",
      {
        id: `filter-${name}`,
        onchange: (event) => {
          filters[name] = read(event.target.value);
          changed();
        },
      },
      options.map(([value, words]) => el("option", { value }, words)),
    );
  const bits = Object.entries(data.status);
  fill(at("filters"), {}, [
    field(
      "Image or person",
      el("input", {
        type: "search",
        id: "filter-text",
        autocomplete: "off",
        spellcheck: "false",
        oninput: (event) => {
          filters.text = event.target.value.trim().toLowerCase();
          changed();
        },
      }),
    ),
    el(
      "div",
      { class: "field" },
      el("span", { "aria-hidden": "true" }, "Score"),
      el(
        "span",
        { class: "pair" },
        number("low", "Score at least", "any"),
        "to",
        number("high", "Score at most", "any"),
      ),
    ),
    field(
      "Bone",
      choice(
        "link",
        [
          [LARGEST_Z, "largest z of each row"],
          [LEAST_LIKELY, "least likely of each row"],
          ...linkWords.map((w, i) => [i, w]),
        ],
        Number,
      ),
    ),
    field("z beyond ±", number("minZ", "z beyond plus or minus", "0.5")),
    field(
      "Joint",
      choice("joint", [[-1, "vaguest of each row"], ...jointWords.map((w, i) => [i, w])], Number),
    ),
    field("Entropy at least", number("minEntropy", "Entropy at least", "0.1")),
    el(
      "label",
      {},
      el("input", {
        type: "checkbox",
        id: "filter-movedOnly",
        onchange: (event) => {
          filters.movedOnly = event.target.checked;
          changed();
        },
      }),
      " moved by refinement",
    ),
    field(
      "Status",
      choice(
        "status",
        [
          ["", "any"],
          ["scored", "scored, no flag"],
          ["flagged", "flagged"],
          ...bits.map(([bit, words]) => [bit, `flagged: ${words}`]),
          ["failed", "failed"],
        ],
        String,
      ),
    ),
    rows.selected
      ? field(
          "Selection",
          choice(
            "selected",
            [
              ["", "all"],
              ["yes", "selected"],
              ["no", "not selected"],
            ],
            String,
          ),
        )
      : null,
    el("button", { type: "reset" }, "Clear"),
  ]);
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  at("filters").addEventListener("reset", () => {
    Object.assign(filters, {
      text: "",
      link: -1,
      minZ: null,
      joint: -1,
      minEntropy: null,
      movedOnly: false,
      low: null,
      high: null,
      status: "",
      selected: "",
    });
    changed();
  });
  at("filters").reset(); // what a browser remembers of an earlier visit
  arrange();
}
