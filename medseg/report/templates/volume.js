// The volumes of one case, unpacked from the inert elements that carry them.
function bytesOf(element) {
  const text = atob(element.textContent.trim());
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at += 1) bytes[at] = text.charCodeAt(at);
  return bytes;
}

async function readGrey(facts) {
  const element = document.getElementById(`${facts.anchor}-image`);
  if (!element) return null;
  const [x, y, z] = facts.shape;
  const sheet = await createImageBitmap(new Blob([bytesOf(element)], { type: "image/webp" }));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [sheet.width, sheet.height];
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(sheet, 0, 0);
  const grey = new Uint8Array(x * y * z);
  for (let k = 0; k < z; k += 1) {
    const [left, top] = [(k % facts.columns) * x, Math.floor(k / facts.columns) * y];
    const tile = pen.getImageData(left, top, x, y).data;
    const base = k * x * y;
    for (let at = 0; at < x * y; at += 1) grey[base + at] = tile[4 * at + 1];
  }
  return grey;
}

// Masks do not go through a picture: some browsers add noise to what is read from a canvas.
async function readMasks(facts) {
  const packed = new Blob([bytesOf(document.getElementById(`${facts.anchor}-labels`))]);
  const stream = packed.stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = await new Response(stream).arrayBuffer();
  const places = facts.pairs.length > 256 ? new Uint16Array(bytes) : new Uint8Array(bytes);
  const [predicted, reference] = [new Uint16Array(places.length), new Uint16Array(places.length)];
  const [left, right] = [0, 1].map((side) => Uint16Array.from(facts.pairs, (pair) => pair[side]));
  for (let at = 0; at < places.length; at += 1) {
    predicted[at] = left[places[at]];
    reference[at] = right[places[at]];
  }
  return { predicted, reference };
}

async function readCase(facts) {
  const [grey, masks] = await Promise.all([readGrey(facts), readMasks(facts)]);
  return { facts, grey, ...masks };
}

// The value that each byte stands for: straight lines between the knots.
function greyValues(knots) {
  const values = new Float32Array(256);
  let part = 0;
  for (let byte = 0; byte < 256; byte += 1) {
    while (part < knots.length - 2 && byte > knots[part + 1][0]) part += 1;
    const [[start, low], [stop, high]] = [knots[part], knots[part + 1]];
    values[byte] = low + ((byte - start) / (stop - start)) * (high - low);
  }
  return values;
}
