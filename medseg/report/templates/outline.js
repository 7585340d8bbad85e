// Closed outlines of a mask by marching squares (Lorensen and Cline 1987, in the plane), at level one half.
const TOP = 0, RIGHT = 1, BOTTOM = 2, LEFT = 3;
// For the corners inside (1 upper left, 2 upper right, 4 lower right, 8 lower left): from side, to side.
const SEGMENTS = [
  [], [LEFT, TOP], [TOP, RIGHT], [LEFT, RIGHT], [RIGHT, BOTTOM], [LEFT, TOP, RIGHT, BOTTOM], [TOP, BOTTOM],
  [LEFT, BOTTOM], [BOTTOM, LEFT], [BOTTOM, TOP], [TOP, RIGHT, BOTTOM, LEFT], [BOTTOM, RIGHT], [RIGHT, LEFT],
  [RIGHT, TOP], [TOP, LEFT], [],
];
const ACROSS = [2, 3, 2, 1], DOWN = [1, 2, 3, 2]; // midpoints of the sides, in half pixels

// `slice`: classes, row by row. Each outline is a list of x, y, x, y, ... in pixels.
function outlines(slice, columns, rows, wanted) {
  const inside = (c, r) => c >= 0 && r >= 0 && c < columns && r < rows && slice[r * columns + c] === wanted;
  const next = new Map();
  const width = 2 * columns + 4;
  const [left, top, right, bottom] = extent(slice, columns, wanted);
  for (let r = top - 1; r <= bottom; r += 1) {
    for (let c = left - 1; c <= right; c += 1) {
      const corners = inside(c, r) + 2 * inside(c + 1, r) + 4 * inside(c + 1, r + 1) + 8 * inside(c, r + 1);
      const sides = SEGMENTS[corners];
      const key = (side) => (2 * r + DOWN[side] + 1) * width + 2 * c + ACROSS[side] + 1;
      for (let at = 0; at < sides.length; at += 2) next.set(key(sides[at]), key(sides[at + 1]));
    }
  }
  return linked(next, width);
}

function extent(slice, columns, wanted) {
  let [left, top, right, bottom] = [Infinity, Infinity, -1, -1];
  for (let at = slice.indexOf(wanted); at >= 0; at = slice.indexOf(wanted, at + 1)) {
    const [c, r] = [at % columns, Math.floor(at / columns)];
    left = Math.min(left, c);
    right = Math.max(right, c);
    top = Math.min(top, r);
    bottom = r;
  }
  return [left, top, right, bottom];
}

function linked(next, width) {
  const found = [];
  for (const start of next.keys()) {
    const line = [];
    let at = start;
    while (next.has(at)) {
      line.push(((at % width) - 1) / 2, (Math.floor(at / width) - 1) / 2);
      const following = next.get(at);
      next.delete(at);
      at = following;
    }
    if (line.length) found.push(line);
  }
  return found;
}
