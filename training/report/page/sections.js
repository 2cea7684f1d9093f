const DATA = JSON.parse(document.getElementById("data").textContent);
const RUNS = DATA.runs;
const byId = (id) => document.getElementById(id);
const classOf = RUNS.map((run) => new Map(run.classes.map((one) => [one.label, one])));
const onChange = (ids, draw) => {
  for (const id of ids) byId(id).addEventListener("change", draw);
  draw();
};

// ---- average precision of each label ----

const FEW = 20;
let allLabels = DATA.labels.length <= FEW + 4;

function drawBars() {
  const rows = DATA.labels.map((label) => {
    const classes = classOf.map((of) => of.get(label));
    const known = classes.filter((one) => one && one.ap !== null).map((one) => one.ap);
    const mean = known.reduce((sum, ap) => sum + ap, 0) / known.length; // NaN without any
    const spread = known.length > 1 ? Math.max(...known) - Math.min(...known) : -1;
    return { label, classes, mean, spread, images: Math.max(...classes.map((one) => (one ? one.positives : 0))) };
  });
  const last = (value, otherwise) => (Number.isNaN(value) ? otherwise : value);
  const orders = {
    worst: (a, b) => last(a.mean, 2) - last(b.mean, 2),
    best: (a, b) => last(b.mean, -1) - last(a.mean, -1),
    difference: (a, b) => b.spread - a.spread,
    images: (a, b) => b.images - a.images,
    name: (a, b) => a.label.localeCompare(b.label),
  };
  rows.sort(orders[byId("order").value]);
  const bars = (row) =>
    row.classes.map((one, index) => {
      if (!one) return "";
      const fill = element("b");
      fill.style.width = `${100 * (one.ap ?? 0)}%`;
      const title = one.ap === null ? `${RUNS[index].name}: no image has this label` : `${RUNS[index].name}: ${percent(one.ap)}`;
      return element("div", { class: `bar ${runClass(index)}`, title }, element("i", {}, fill), element("span", {}, percent(one.ap)));
    });
  byId("bars").replaceChildren(
    ...rows.slice(0, allLabels ? rows.length : FEW).map((row) => {
      const images = element("small", { title: "images with this label" }, String(row.images));
      return element("tr", {}, element("th", { scope: "row" }, row.label, images), element("td", {}, ...bars(row)));
    }),
  );
  byId("more-labels").hidden = allLabels;
}

byId("more-labels").textContent = `Show all ${DATA.labels.length} labels`;
byId("more-labels").addEventListener("click", () => {
  allLabels = true;
  drawBars();
});
onChange(["order"], drawBars);

// ---- precision and recall ----

function drawCurve() {
  const label = DATA.labels[byId("curve-label").value];
  const series = RUNS.map((run, index) => {
    if (label === undefined) {
      const points = run.macro.map((precision, level) => [level / 100, precision]);
      return { run: index, name: run.name, note: `mAP ${percent(run.mAP)}`, lines: points.length ? [{ points }] : [] };
    }
    const one = classOf[index].get(label);
    if (!one || !one.curve.length) return { run: index, name: run.name, note: "no image has this label", lines: [] };
    const points = [[0, one.curve[0][1]], ...one.curve];
    const tags = one.precision === null ? "no tags" : `precision ${percent(one.precision)}, recall ${percent(one.recall)}`;
    const note = `AP ${percent(one.ap)}; at its threshold ${one.threshold.toFixed(2)}: ${tags}`;
    return { run: index, name: run.name, note, lines: [{ points }], mark: one.precision === null ? null : [one.recall, one.precision] };
  });
  byId("curve-hint").textContent =
    label === undefined
      ? "The best precision at or above each recall, averaged over the labels."
      : "The ring marks the label's threshold.";
  lineChart(byId("curve"), {
    series,
    x: { label: "recall", low: 0, high: 1 },
    y: { label: "precision", low: 0, high: 1 },
    height: (width) => Math.min(440, Math.max(260, width * 0.75)),
    describe: (recall, precision) => `recall ${percent(recall)}: precision ${percent(precision)}`,
  });
}
onChange(["curve-label"], drawCurve);

// ---- confusions ----

const MOST = 14; // rows and columns of the map
const SURE = 10; // images needed for a meaningful share

// The labels with the largest sums in column `at` of the rows.
function heaviest(rows, at) {
  const sums = new Map();
  for (const row of rows) sums.set(row[at], (sums.get(row[at]) ?? 0) + row[2]);
  return [...sums].sort((a, b) => b[1] - a[1]).slice(0, MOST).map(([label]) => label);
}

function drawConfusions() {
  const run = RUNS[byId("confusion-run").value];
  const name = (index) => run.classes[index].label;
  const rows = run.confusions;
  const body = byId("confusion-body");
  if (!rows.length) {
    body.replaceChildren(element("p", { class: "hint" }, "None: no label was added to an image with another label."));
    return;
  }
  const found = new Map(rows.map((row) => [`${row[0]} ${row[1]}`, row]));
  const [down, across] = [heaviest(rows, 0), heaviest(rows, 1)];
  const inside = rows.filter((row) => down.includes(row[0]) && across.includes(row[1]));
  const sure = inside.filter((row) => row[3] >= SURE);
  const top = Math.max(...(sure.length ? sure : inside).map((row) => row[2] / row[3]));
  const cell = (a, b) => {
    if (a === b) return element("td", { class: "own" });
    const row = found.get(`${a} ${b}`);
    if (!row) return element("td", { title: `${name(a)}: ${name(b)} never added` });
    const share = row[2] / row[3];
    const title = `${name(a)}: ${name(b)} added in ${row[2]} of ${row[3]} images`;
    const depth = row[3] < SURE ? 0 : share / top;
    const node = element("td", { class: row[3] < SURE ? "few" : depth > 0.6 ? "some deep" : "some", title }, percent(share, 0));
    node.style.setProperty("--share", `${12 + 88 * depth}%`);
    return node;
  };
  const head = across.map((b) => element("th", { scope: "col", title: name(b) }, element("span", {}, name(b))));
  const map = element(
    "table",
    { class: "heat" },
    element("thead", {}, element("tr", {}, element("td", { class: "own corner" }, "present ↓ added →"), ...head)),
    element("tbody", {}, ...down.map((a) => element("tr", {}, element("th", { scope: "row", title: name(a) }, name(a)), ...across.map((b) => cell(a, b))))),
  );
  const pairs = element(
    "table",
    { class: "pairs" },
    element("thead", {}, element("tr", {}, ...["Present", "Added"].map((text) => element("th", { scope: "col" }, text)), element("th", { scope: "col", class: "number" }, "Images"))),
    element("tbody", {}, ...rows.slice(0, 12).map(([a, b, count, of]) => element("tr", {}, element("td", {}, name(a)), element("td", {}, name(b)), element("td", { class: "number" }, `${count} of ${of}`)))),
  );
  const hint = "Percentage of images with the row's label and without the column's label that are tagged with the column's label. Without colour: fewer than ten images.";
  const region = element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Map of confusions" }, map);
  body.replaceChildren(element("div", { class: "beside" }, region, pairs), element("p", { class: "hint" }, hint));
}
onChange(["confusion-run"], drawConfusions);

// ---- learning curves ----

function drawLearning(id, key, scale, digits) {
  const series = RUNS.map((run, index) => {
    const lines = [];
    run.log.forEach((row, epoch) => {
      if (typeof row[key] !== "number") return;
      if (!lines.length || lines.at(-1).stage !== row.stage) lines.push({ stage: row.stage, dashed: row.stage === "head", points: [] });
      lines.at(-1).points.push([epoch + 1, row[key]]);
    });
    const values = lines.flatMap((line) => line.points.map((point) => point[1]));
    const note = values.length ? `last ${values.at(-1).toFixed(digits)}` : "not in the log";
    return { run: index, name: run.name, note: run.log.length ? note : "no log", lines, dots: true };
  });
  const values = series.flatMap((one) => one.lines.flatMap((line) => line.points.map((point) => point[1])));
  if (!values.length) {
    byId(id).replaceChildren(element("p", { class: "hint" }, "Not in the log of any run."));
    return;
  }
  const [low, high] = scale(Math.min(...values), Math.max(...values));
  lineChart(byId(id), {
    series,
    x: { label: "epoch", low: 1, high: Math.max(2, ...RUNS.map((run) => run.log.length)), whole: true },
    y: { label: key === "loss" ? "loss" : "mAP", low, high },
    height: () => 260,
    describe: (epoch, value) => `epoch ${epoch}: ${value.toFixed(digits)}`,
  });
}
drawLearning("loss", "loss", (low, high) => [Math.min(0, low), high * 1.05 || 1], 3);
drawLearning("holdout", "holdout_mAP", (low, high) => [Math.max(0, low - 0.15 * (high - low) - 0.5), Math.min(100, high + 0.15 * (high - low) + 0.5)], 2);

// ---- mistakes ----

const SIGNS = { right: "✓", missed: "−", added: "+", unknown: "?" };
const WORDS = { right: "correct", missed: "missed", added: "added, not present", unknown: "not labelled" };
const headline = (mistake) => `${mistake.kind === "missed" ? "Missed" : "Added"}: ${mistake.label}`;
const scores = (mistake) => `score ${mistake.score.toFixed(2)}, threshold ${mistake.threshold.toFixed(2)}`;
const tagItems = (mistake, kind) =>
  mistake.tags.map((tag) => element(kind, { class: tag.state, title: WORDS[tag.state] }, `${SIGNS[tag.state]} ${tag.label} ${tag.score.toFixed(2)}`));
let shown = [];
let opened = 0;

function drawMistakes() {
  const kind = byId("mistake-kind").value;
  const run = RUNS[byId("mistake-run").value];
  // An image with a missed and an added label is shown once; its tags show both.
  const first = (one, index, all) => all.findIndex((other) => other.picture === one.picture) === index;
  shown = run.mistakes.filter((one) => !kind || one.kind === kind).filter(first);
  const cards = shown.map((mistake, index) => {
    const source = DATA.pictures[mistake.picture];
    const alt = `${mistake.file}. ${headline(mistake)}`;
    const picture = source ? element("img", { src: source, alt, decoding: "async" }) : element("span", { class: "lost" }, "image not available");
    // A button may contain spans only.
    const tags = element("span", { class: "tags" }, ...tagItems(mistake, "span"));
    const title = element("strong", { class: mistake.kind }, headline(mistake));
    const text = element("span", { class: "text" }, title, element("span", { class: "score" }, scores(mistake)), tags);
    const card = element("button", { class: "card", type: "button" }, picture, text);
    card.addEventListener("click", () => openMistake(index));
    return card;
  });
  byId("sheet").replaceChildren(...(cards.length ? cards : [element("p", { class: "hint" }, "None to show.")]));
}

function openMistake(index) {
  opened = (index + shown.length) % shown.length;
  const mistake = shown[opened];
  byId("viewer-title").textContent = headline(mistake);
  byId("viewer-picture").src = DATA.pictures[mistake.picture] ?? "";
  byId("viewer-picture").alt = mistake.file;
  byId("viewer-file").textContent = `${mistake.file}: ${scores(mistake)} (${opened + 1} of ${shown.length})`;
  byId("viewer-tags").replaceChildren(...tagItems(mistake, "li"));
  if (!byId("viewer").open) byId("viewer").showModal();
}

byId("viewer-previous").addEventListener("click", () => openMistake(opened - 1));
byId("viewer-next").addEventListener("click", () => openMistake(opened + 1));
byId("viewer-close").addEventListener("click", () => byId("viewer").close());
byId("viewer").addEventListener("click", (event) => event.target === byId("viewer") && byId("viewer").close());
byId("viewer").addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") openMistake(opened - 1);
  if (event.key === "ArrowRight") openMistake(opened + 1);
});
onChange(["mistake-run", "mistake-kind"], drawMistakes);
