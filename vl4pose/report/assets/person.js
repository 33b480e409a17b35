// The dialog about one person: picture, bones, joints, and the heatmap of one of them.

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
  return el(
    "div",
    { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
    el(
      "table",
      {},
      el("caption", { class: "hidden" }, caption),
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          heads.map((head, i) => el("th", { scope: "col", class: i ? "number" : null }, head)),
        ),
      ),
      el(
        "tbody",
        {},
        lines.map((cells) =>
          el(
            "tr",
            {},
            cells.map((cell, i) =>
              el(i ? "td" : "th", { class: i ? "number" : null, scope: i ? null : "row" }, cell),
            ),
          ),
        ),
      ),
    ),
  );
}

function showPerson() {
  const { row, list } = current;
  const picture = pictures[row];
  heading.textContent = title(row);
  const place = list.indexOf(row);
  setUnavailable(previousButton, place <= 0);
  setUnavailable(nextButton, place >= list.length - 1);
  const failed = rows.error[row] !== null;
  const large = frame(row, true);
  const pictureColumn = el("div", { class: "picture" }, large);
  const panel = el("div");
  const told = el("p", { role: "status" });
  const select = el(
    "select",
    { id: "person-joint", onchange: () => showJoint(Number(select.value)) },
    el("option", { value: -1 }, "none"),
    jointWords.map((words, j) => el("option", { value: j }, words)),
  );
  const hasPeaks = Boolean(picture?.peaks.length);
  if (hasPeaks) {
    const what = picture.heatmaps ? "Heatmap and peaks of" : "Peaks of";
    pictureColumn.append(
      el("p", { class: "chosen" }, el("label", { for: "person-joint" }, what), select),
      told,
      panel,
    );
    if (picture.changed) {
      pictureColumn.append(
        el(
          "p",
          { class: "note" },
          "These heatmaps are not those that were scored: the image has changed since.",
        ),
      );
    }
    if (!picture.heatmaps) {
      panel.append(
        el(
          "p",
          { class: "quiet" },
          "The page was made without the pose network, so that it has peaks and weights but no heatmaps.",
        ),
      );
    }
  } else if (!failed) {
    pictureColumn.append(
      el("p", { class: "quiet" }, "The peaks are in the page only for people that are pictured."),
    );
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
    told.textContent = `${count(peaks.length, "peak")} of ${jointWords[joint]}; the refined pose has number ${chosen + 1}.`;
    const side = Math.max(...part(row).slice(2));
    peaks.forEach(([x, y, weight], k) => {
      const r = side * (0.012 + 0.035 * Math.sqrt(weight));
      const kept = k === chosen ? "peak kept" : "peak";
      overlay.append(
        svg("circle", { class: "peak-halo", cx: x, cy: y, r }),
        svg("circle", { class: kept, cx: x, cy: y, r }),
        svg(
          "text",
          { class: "peak-name", x: x + r, y: y - r, "font-size": side * 0.035 },
          String(k + 1),
        ),
      );
    });
    panel.append(
      rowsTable(
        `Peaks of ${jointWords[joint]}, highest first`,
        ["Peak", "x", "y", "Weight", "Posterior"],
        peaks.map(([x, y, weight, posterior], k) => [
          `${k + 1}${k === chosen ? ", refined" : ""}`,
          fixed(x, 1),
          fixed(y, 1),
          share(weight),
          share(posterior),
        ]),
      ),
      el(
        "p",
        { class: "quiet" },
        "A circle for each peak, larger with its weight. " +
          (picture.heatmaps ? "The map is bright where it is highest. " : "") +
          "The posterior is the weight once the bones have had their say.",
      ),
    );
  }

  const facts = [["Score", score(rows.score[row])]];
  if (rows.logProb[row] !== null)
    facts.push(["Log-probability of the refined pose", score(rows.logProb[row])]);
  if (selected(row)) {
    const by = rows.chosen_by?.[row] ? `, chosen by ${rows.chosen_by[row]}` : "";
    facts.push([
      "Selected",
      rows.rank ? `number ${counted.format(rows.rank[row])}${by}` : `yes${by}`,
    ]);
  }
  if (!missing(rows.priority?.[row])) facts.push(["Priority", score(rows.priority[row])]);
  if (!missing(rows.percentile?.[row])) facts.push(["Percentile", percent(rows.percentile[row])]);
  facts.push(["Status", status(row)]);
  const swaps = (rows.swap_suspects?.[row] ?? []).filter(({ gain }) => gain >= data.leastGain);
  if (swaps.length) {
    facts.push([
      "Left and right may be exchanged",
      swaps
        .map(
          ({ pair, gain }) =>
            `${readable(pair).replace("/", " and ")} (likelier by ${fixed(gain, 1)} nats)`,
        )
        .join("; "),
    ]);
  }
  const worst = rows.worst_links?.[row] ?? [];
  if (worst.length) {
    facts.push([
      "Least likely bones",
      worst
        .map(
          (w) =>
            `${readable(w.link)} ${fixed(w.log_likelihood, 1)}${
              missing(w.percentile) ? "" : ` (percentile ${fixed(w.percentile, 1)})`
            }`,
        )
        .join("; "),
    ]);
  }
  const vague = rows.ambiguous_joints?.[row] ?? [];
  if (vague.length && !hasPeaks) {
    // else the table of joints says it
    facts.push([
      "Joints with several peaks",
      vague
        .map((v) => `${readable(v.joint)} (${v.num_peaks}, entropy ${fixed(v.entropy, 2)})`)
        .join("; "),
    ]);
  }
  const words = rows.reasons?.[row] ?? picture?.alt;
  const side = el(
    "div",
    {},
    words ? el("p", {}, words) : null,
    el(
      "dl",
      { class: "facts" },
      facts.flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]),
    ),
  );
  if (!failed) {
    const lengths = picture?.lengths;
    side.append(
      el("h3", {}, "Bones"),
      el(
        "p",
        { class: "quiet" },
        "z is of the highest peaks, the log-likelihood is expected over all peaks, as in the score.",
      ),
      rowsTable(
        "Bones, lengths in heatmap pixels",
        ["Bone", "z", "z refined", "Log-likelihood", ...(lengths ? ["Length", "Expected"] : [])],
        links.map((_, i) => [
          linkWords[i],
          signed(z[row * numLinks + i]),
          signed(refinedZ[row * numLinks + i]),
          fixed(logLikelihood[row * numLinks + i], 2),
          ...(lengths
            ? [fixed(lengths[i][0], 1), `${fixed(lengths[i][1], 1)} ± ${fixed(lengths[i][2], 1)}`]
            : []),
        ]),
      ),
      el("h3", {}, "Joints"),
      rowsTable(
        "Joints",
        ["Joint", "Entropy", "Confidence", ...(hasPeaks ? ["Peaks"] : []), "Refined to"],
        joints.map((_, j) => {
          const button = hasPeaks
            ? el(
                "button",
                {
                  type: "button",
                  class: "open",
                  "aria-pressed": "false",
                  onclick: () => {
                    showJoint(Number(select.value) === j ? -1 : j);
                    pictureColumn.scrollIntoView({ block: "nearest" });
                  },
                },
                jointWords[j],
              )
            : null;
          if (button) buttons.push(button);
          const i = row * numJoints + j;
          const weighty = hasPeaks
            ? (picture.peaks[j] ?? []).filter((peak) => peak[2] >= data.leastPeakWeight).length
            : 0;
          return [
            button ?? jointWords[j],
            fixed(entropy[i], 2),
            fixed(confidence[i], 2),
            ...(hasPeaks ? [String(weighty)] : []),
            peakIndex[i] ? `peak ${peakIndex[i] + 1}` : "–",
          ];
        }),
      ),
    );
  }
  content.replaceChildren(pictureColumn, side);
}

/** One joint's map out of the sheet of all, over its part of the image. */
function heatmap(picture, joint) {
  const [x, y, width, height] = picture.heatmapPlace;
  return svg(
    "svg",
    {
      x: x - 0.5,
      y: y - 0.5,
      width,
      height,
      viewBox: `${joint} 0 1 1`,
      preserveAspectRatio: "none",
    },
    svg("image", {
      href: picture.heatmaps,
      width: numJoints,
      height: 1,
      preserveAspectRatio: "none",
      filter: "url(#heat)",
    }),
  );
}

dialog.append(
  el(
    "div",
    { class: "bar-top" },
    heading,
    previousButton,
    nextButton,
    el("button", { type: "button", onclick: () => dialog.close() }, "Close"),
  ),
  content,
);
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close(); // the ground around it
});
