// The data of the page, and what all of its parts are built with. Everything that comes from the
// table is put into the page as text or as an attribute's value, never as markup.

const data = JSON.parse(document.getElementById("data").textContent);
const { joints, links, linkNames } = data.skeleton;
const numJoints = joints.length;
const numLinks = links.length;
const rows = data.rows;
const numRows = rows.image.length;
const pictures = data.pictures;
const { drawing } = data;

const SVG = "http://www.w3.org/2000/svg";

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
/** Show that a button does nothing now. Disabled, it would lose the focus it may have. */
const setUnavailable = (button, is) => button.setAttribute("aria-disabled", String(is));

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
  missing(number)
    ? "–"
    : Math.abs(number) < 0.05
      ? "0.0"
      : (number > 0 ? "+" : "") + fixed(number, 1);
const percent = (number) => (missing(number) ? "–" : `${fixed(number, 1)} %`);
const share = (number) => (missing(number) ? "–" : percent(100 * number));
const readable = (name) => name.replaceAll("_", " ").replaceAll(">", " to ");
const linkWords = linkNames.map(readable);
const jointWords = joints.map(readable);

// The rows, column by column; arrays of numbers hold one row after another.

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
