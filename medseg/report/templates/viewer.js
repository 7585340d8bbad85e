// The viewer of one case at a time.
function makeViewer(root, told) {
  const element = (name) => root.querySelector(`[data-part="${name}"]`);
  const colours = told.structures.map(({ colour }) =>
    [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16)));
  const state = {
    at: [0, 0, 0], prediction: "outline", reference: "outline", difference: false, cross: true,
    hidden: new Set(), tones: new Uint8Array(256), centre: 0, width: 1, preset: "",
  };
  const planes = [...root.querySelectorAll(".plane")].map((figure) => ({
    axis: Number(figure.dataset.axis), figure, canvas: figure.querySelector("canvas"),
    slider: figure.querySelector("input"), told: figure.querySelector("output"),
  }));
  let [current, volume, values, waiting] = [-1, null, null, false];

  function draw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      if (volume) planes.forEach(drawOne);
    });
  }

  function drawOne({ axis, canvas, slider, told: output }) {
    const { facts } = volume;
    const size = Math.round(canvas.clientWidth * Math.min(2, window.devicePixelRatio || 1)) || 400;
    if (canvas.width !== size) [canvas.width, canvas.height] = [size, size];
    const { predicted, reference } = drawPlane(canvas, volume, axis, state, colours);
    const native = Math.floor(facts.first[axis] + (state.at[axis] + 0.5) * facts.step[axis]) + 1;
    const text = `slice ${native} of ${facts.slices[axis]} from ${PLANES[axis].from}`;
    slider.value = state.at[axis];
    slider.setAttribute("aria-valuetext", text);
    output.textContent = `${native} of ${facts.slices[axis]}`;
    const names = (mask) => [...new Set(mask)].filter(Boolean).map((found) => told.structures[found - 1].name);
    const list = (mask) => names(mask).join(", ") || "nothing";
    canvas.setAttribute(
      "aria-label",
      `${PLANES[axis].name} ${text}. Predicted: ${list(predicted)}. Reference: ${list(reference)}.`,
    );
  }

  function setTones() {
    if (!values) return;
    const low = state.centre - state.width / 2;
    const tone = (value) => Math.max(0, Math.min(255, ((value - low) / state.width) * 255));
    values.forEach((value, byte) => {
      state.tones[byte] = tone(value);
    });
    for (const name of ["centre", "width"]) {
      const text = `${Number(state[name].toPrecision(3))} ${volume.facts.unit}`;
      element(name).value = state[name];
      element(name).setAttribute("aria-valuetext", text);
      element(`${name}-told`).textContent = text;
    }
    draw();
  }

  function setWindow(name) {
    const { presets } = volume.facts;
    const chosen = presets.find(([each]) => each === name) ?? presets[0];
    [state.preset, state.centre, state.width] = chosen;
    element("preset").value = state.preset;
    setTones();
  }

  function offerWindows() {
    const { facts } = volume;
    element("window").hidden = !volume.grey;
    values = volume.grey ? greyValues(facts.knots) : null;
    if (!values) return;
    const own = new Option("Own", "", false, false);
    element("preset").replaceChildren(...facts.presets.map(([name, centre, width]) =>
      new Option(facts.unit ? `${name} (${centre} / ${width})` : name, name)), own);
    const [low, high] = [values[0], values[255]];
    const step = (high - low) / 500;
    Object.assign(element("centre"), { min: low, max: high, step });
    Object.assign(element("width"), { min: step, max: high - low, step });
    setWindow(state.preset);
  }

  function move(axis, to) {
    state.at[axis] = Math.max(0, Math.min(volume.facts.shape[axis] - 1, to));
    draw();
  }

  function toWorst() {
    state.at = [...volume.facts.telling];
    draw();
  }

  async function show(index) {
    if (index < 0 || index >= told.cases.length || index === current) return;
    current = index;
    const facts = told.cases[index];
    element("case").value = index;
    element("worse").disabled = index === 0;
    element("better").disabled = index === told.cases.length - 1;
    root.setAttribute("aria-busy", "true");
    const read = await readCase(facts);
    if (current !== index) return; // another case was chosen meanwhile
    volume = read;
    planes.forEach(({ axis, slider }) => { slider.max = facts.shape[axis] - 1; });
    const grid = facts.spacing_mm.map((mm) => Number(mm.toPrecision(3))).join(" × ");
    element("grid").textContent = `Shown at ${grid} mm, around the structures; the scores are of the scan's own grid.`;
    element("name").textContent = `${facts.name} (${facts.lead})`;
    tellScores(element("scores").tBodies[0], facts.scores);
    offerWindows();
    toWorst();
    root.setAttribute("aria-busy", "false");
    root.dataset.case = facts.name;
  }

  function tellScores(body, scores) {
    const rows = told.structures.map(({ name }, place) => {
      const row = document.createElement("tr");
      const head = document.createElement("th");
      const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: !state.hidden.has(place + 1) });
      const label = document.createElement("label");
      const swatch = Object.assign(document.createElement("span"), { className: `swatch s${place}` });
      swatch.setAttribute("aria-hidden", "true");
      label.append(box, " ", swatch, name);
      head.scope = "row";
      head.append(label);
      row.append(head);
      for (const text of scores[place] ?? told.columns.map(() => "–").concat("–", "–", "–")) row.insertCell().textContent = text;
      row.cells[1].className = ["missed", "false positive"].includes(row.cells[1].textContent) ? "word low" : "word";
      box.addEventListener("change", () => {
        if (box.checked) state.hidden.delete(place + 1);
        else state.hidden.add(place + 1);
        draw();
      });
      return row;
    });
    body.replaceChildren(...rows);
  }

  function onWheel(event, axis) {
    event.preventDefault();
    if (volume) move(axis, state.at[axis] + (event.deltaY > 0 ? -1 : 1));
  }

  function onPoint(event, { axis, canvas, slider }) {
    if (!volume) return;
    const place = placeOn(canvas, volume.facts, axis);
    const { across, down } = PLANES[axis];
    const unit = canvas.width / canvas.clientWidth;
    const column = Math.floor((event.offsetX * unit - place.left) / place.x);
    const row = Math.floor((event.offsetY * unit - place.top) / place.y);
    move(across, column);
    move(down, down === 2 ? place.rows - 1 - row : row);
    slider.focus({ preventScroll: true });
  }

  for (const plane of planes) {
    plane.slider.addEventListener("input", () => move(plane.axis, Number(plane.slider.value)));
    plane.canvas.addEventListener("wheel", (event) => onWheel(event, plane.axis), { passive: false });
    plane.canvas.addEventListener("mousedown", (event) => event.preventDefault()); // it would take the focus away
    plane.canvas.addEventListener("pointerdown", (event) => onPoint(event, plane));
    plane.canvas.addEventListener("pointermove", (event) => { if (event.buttons === 1) onPoint(event, plane); });
    const enlarge = plane.figure.querySelector("button");
    enlarge.addEventListener("click", () => {
      const large = plane.figure.classList.toggle("large");
      enlarge.setAttribute("aria-pressed", String(large));
      draw();
    });
  }
  const set = (name, change) => element(name).addEventListener("input", () => { change(element(name)); draw(); });
  set("prediction", ({ value }) => { state.prediction = value; });
  set("reference", ({ value }) => { state.reference = value; });
  set("difference", ({ checked }) => { state.difference = checked; element("differences").hidden = !checked; });
  set("cross", ({ checked }) => { state.cross = checked; });
  set("preset", ({ value }) => { if (value) setWindow(value); });
  for (const name of ["centre", "width"]) {
    set(name, ({ value }) => { state[name] = Number(value); state.preset = element("preset").value = ""; setTones(); });
  }
  const go = { worse: () => show(current - 1), better: () => show(current + 1), worst: toWorst };
  for (const [name, act] of Object.entries(go)) element(name).addEventListener("click", act);
  element("case").append(...told.cases.map(({ name, lead }, index) => new Option(`${name} (${lead})`, index)));
  element("case").addEventListener("change", () => show(Number(element("case").value)));
  addKeys(root, { w: () => volume && toWorst(), "[": go.worse, "]": go.better,
    p: () => cycle(element("prediction")), r: () => cycle(element("reference")), d: () => element("difference").click() });
  new ResizeObserver(draw).observe(root);
  root.hidden = false;
  return { show, cases: told.cases };
}

function cycle(select) {
  select.selectedIndex = (select.selectedIndex + 1) % select.options.length;
  select.dispatchEvent(new Event("input"));
}

// Single letters act only while something in the viewer has the focus, and not where one types or chooses.
function addKeys(root, acts) {
  root.addEventListener("keydown", (event) => {
    const typing = event.target instanceof HTMLSelectElement || event.ctrlKey || event.metaKey || event.altKey;
    if (typing || !(event.key in acts)) return;
    event.preventDefault();
    acts[event.key]();
  });
}
