// A pose over its picture.

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
    const where = points[kind];
    links.forEach(([parent, child], i) => {
      if (!where[parent] || !where[child]) return;
      const value = values[row * numLinks + i];
      const d = lineTo([where[parent], where[child]]);
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
          svg(
            "g",
            { class: same ? "same" : null },
            svg("path", { class: "expected-halo", d: shape }),
            svg("path", { class: "expected", d: shape }),
          ),
        );
      }
      const free = named.includes(i) && !same ? room(where[parent], where[child]) : null;
      if (free) {
        labels.append(
          svg("text", { class: "z", x: free[0], y: free[1], "font-size": size }, signed(value)),
        );
      }
    });
    if (kind === "raw") {
      const dots = where.filter(Boolean).map(dot).join("");
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
      el("img", {
        src: picture.src,
        alt: words,
        width,
        height,
        loading: "lazy",
        decoding: "async",
      }),
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
