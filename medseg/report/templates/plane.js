// One plane of the viewer: a slice, its masks, and where the other planes cut it.
const PLANES = {
  0: { name: "Sagittal", from: "the patient's right", across: 1, down: 2, sides: ["A", "P", "S", "I"] },
  1: { name: "Coronal", from: "the front", across: 0, down: 2, sides: ["R", "L", "S", "I"] },
  2: { name: "Axial", from: "the feet", across: 0, down: 1, sides: ["R", "L", "A", "P"] },
};
const DIFFERENCES = { only_predicted: [230, 97, 1], only_reference: [93, 183, 255], other: [255, 221, 51] };
const FILL = 115, DIFFERENCE_FILL = 170;

// A slice of one array, head up; the place of its voxels is the same for all arrays of a case.
function sliceOf(array, facts, axis, at) {
  const { across, down } = PLANES[axis];
  const strides = [1, facts.shape[0], facts.shape[0] * facts.shape[1]];
  const [columns, rows] = [facts.shape[across], facts.shape[down]];
  const out = new array.constructor(columns * rows);
  for (let r = 0; r < rows; r += 1) {
    const row = down === 2 ? rows - 1 - r : r;
    let from = at * strides[axis] + row * strides[down];
    for (let c = 0; c < columns; c += 1, from += strides[across]) out[r * columns + c] = array[from];
  }
  return out;
}

// Where a slice lies on a canvas: the whole of it, in true proportion, in the middle.
function placeOn(canvas, facts, axis) {
  const { across, down } = PLANES[axis];
  const [columns, rows] = [facts.shape[across], facts.shape[down]];
  const [wide, high] = [facts.spacing_mm[across], facts.spacing_mm[down]];
  const pixels = Math.min(canvas.width / (columns * wide), canvas.height / (rows * high)); // a millimetre
  const [x, y] = [pixels * wide, pixels * high];
  return { columns, rows, x, y, pixels, left: (canvas.width - columns * x) / 2, top: (canvas.height - rows * y) / 2 };
}

function painted(columns, rows, paint) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [columns, rows];
  const pen = canvas.getContext("2d");
  const picture = pen.createImageData(columns, rows);
  paint(picture.data);
  pen.putImageData(picture, 0, 0);
  return canvas;
}

function drawPlane(canvas, volume, axis, state, colours) {
  const { facts } = volume;
  const at = state.at[axis];
  const place = placeOn(canvas, facts, axis);
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#000";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  const put = (picture, smooth) => {
    pen.imageSmoothingEnabled = smooth;
    pen.imageSmoothingQuality = "high";
    pen.drawImage(picture, place.left, place.top, place.columns * place.x, place.rows * place.y);
  };
  if (volume.grey) put(greyPicture(sliceOf(volume.grey, facts, axis, at), place, state.tones), true);
  const predicted = sliceOf(volume.predicted, facts, axis, at);
  const reference = sliceOf(volume.reference, facts, axis, at);
  if (state.difference) put(differencePicture(predicted, reference, place, facts, state.hidden), false);
  for (const [mask, how] of [[reference, state.reference], [predicted, state.prediction]]) {
    if (how === "fill" && !state.difference) put(fillPicture(mask, place, colours, state.hidden), false);
  }
  const unit = canvas.width / Math.max(1, canvas.clientWidth);
  if (state.prediction !== "off") drawOutlines(pen, predicted, place, colours, state.hidden, unit, false);
  if (state.reference !== "off") drawOutlines(pen, reference, place, colours, state.hidden, unit, true);
  if (state.cross) drawCross(pen, canvas, place, axis, state.at, unit);
  drawMarks(pen, canvas, place, axis, unit);
  return { predicted, reference };
}

function greyPicture(slice, { columns, rows }, tones) {
  return painted(columns, rows, (data) => {
    for (let at = 0; at < slice.length; at += 1) {
      const tone = tones[slice[at]];
      data[4 * at] = data[4 * at + 1] = data[4 * at + 2] = tone;
      data[4 * at + 3] = 255;
    }
  });
}

function fillPicture(mask, { columns, rows }, colours, hidden) {
  return painted(columns, rows, (data) => {
    for (let at = 0; at < mask.length; at += 1) {
      if (mask[at] && !hidden.has(mask[at])) data.set([...colours[mask[at] - 1], FILL], 4 * at);
    }
  });
}

function differencePicture(predicted, reference, { columns, rows }, facts, hidden) {
  const skip = new Set([...hidden, ...facts.unknown]);
  return painted(columns, rows, (data) => {
    for (let at = 0; at < predicted.length; at += 1) {
      const p = skip.has(predicted[at]) ? 0 : predicted[at];
      const r = skip.has(reference[at]) ? 0 : reference[at];
      if (p === r) continue;
      const kind = r === 0 ? "only_predicted" : p === 0 ? "only_reference" : "other";
      data.set([...DIFFERENCES[kind], DIFFERENCE_FILL], 4 * at);
    }
  });
}

function drawOutlines(pen, mask, place, colours, hidden, unit, dashed) {
  pen.lineJoin = "round";
  for (const found of new Set(mask)) {
    if (!found || hidden.has(found)) continue;
    const path = new Path2D();
    for (const line of outlines(mask, place.columns, place.rows, found)) {
      for (let at = 0; at < line.length; at += 2) {
        const [x, y] = [place.left + line[at] * place.x, place.top + line[at + 1] * place.y];
        if (at) path.lineTo(x, y);
        else path.moveTo(x, y);
      }
      path.closePath();
    }
    const shade = dashed ? colours[found - 1].map((part) => Math.round(0.3 * part + 178)) : colours[found - 1];
    pen.setLineDash(dashed ? [5 * unit, 4 * unit] : []);
    for (const [style, wide] of [["rgb(0 0 0 / 0.55)", 3.4], [`rgb(${shade.join(" ")})`, dashed ? 1.5 : 1.9]]) {
      pen.strokeStyle = style;
      pen.lineWidth = wide * unit;
      pen.stroke(path);
    }
  }
  pen.setLineDash([]);
}

function drawCross(pen, canvas, place, axis, at, unit) {
  const { across, down } = PLANES[axis];
  const row = down === 2 ? place.rows - 1 - at[down] : at[down];
  const [x, y] = [place.left + (at[across] + 0.5) * place.x, place.top + (row + 0.5) * place.y];
  pen.strokeStyle = "rgb(255 255 255 / 0.38)";
  pen.lineWidth = unit;
  const [gapX, gapY] = [10 * unit + place.x / 2, 10 * unit + place.y / 2];
  pen.beginPath();
  for (const [a, b, c, d] of [
    [place.left, y, x - gapX, y], [x + gapX, y, canvas.width - place.left, y],
    [x, place.top, x, y - gapY], [x, y + gapY, x, canvas.height - place.top],
  ]) {
    pen.moveTo(a, b);
    pen.lineTo(c, d);
  }
  pen.stroke();
}

// The sides of the patient, and a bar of a round length.
function drawMarks(pen, canvas, place, axis, unit) {
  pen.font = `600 ${13 * unit}px system-ui, sans-serif`;
  pen.textBaseline = "middle";
  pen.textAlign = "center";
  const [wide, high, edge] = [canvas.width, canvas.height, 12 * unit];
  const say = (text, x, y) => {
    pen.lineWidth = 3 * unit;
    pen.strokeStyle = "rgb(0 0 0 / 0.8)";
    pen.strokeText(text, x, y);
    pen.fillStyle = "#fff";
    pen.fillText(text, x, y);
  };
  const spots = [[edge, high / 2], [wide - edge, high / 2], [wide / 2, edge], [wide / 2, high - edge]];
  PLANES[axis].sides.forEach((side, at) => say(side, ...spots[at]));
  const length = [5, 10, 20, 50, 100].filter((mm) => mm * place.pixels < wide / 3).pop() ?? 5;
  const [x, y] = [edge, high - edge];
  pen.fillStyle = "#000";
  pen.fillRect(x - unit, y - unit, length * place.pixels + 2 * unit, 4 * unit);
  pen.fillStyle = "#fff";
  pen.fillRect(x, y, length * place.pixels, 2 * unit);
  pen.textAlign = "left";
  say(`${length} mm`, x, y - 11 * unit);
}
