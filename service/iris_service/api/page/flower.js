// Draws an iris from above, to scale, with dimension lines. One unit of the drawing is 1 cm.

const NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"];
const LARGEST_CM = 8.6; // longer parts shrink the whole flower, and its squares with it
const RAIL = { right: 8.3, top: -8.1, bottom: 9.2 }; // where the dimension lines run, clear of the flower
const WIDEST = 0.62; // where on its length a part is widest

export const isFlower = (features) => features.length === 4 && NAMES.every((name, at) => features[at].name === name);

function make(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** The outline of a part from its base at 0,0 upwards, exactly `length` long and `width` wide. */
function outline(length, width, waist) {
  const w = width / 2;
  const [haft, belly, widest, shoulder, tip] = [0.14, 0.34, WIDEST, 0.84, 0.97].map((share) => -share * length);
  return (
    `M0 0C${w * waist} ${haft} ${w} ${belly} ${w} ${widest}C${w} ${shoulder} ${w * 0.46} ${tip} 0 ${-length}` +
    `C${-w * 0.46} ${tip} ${-w} ${shoulder} ${-w} ${widest}C${-w} ${belly} ${-w * waist} ${haft} 0 0Z`
  );
}

function veins(length, width) {
  const vein = (at) => {
    const [x, end] = [(at * width) / 2, 0.22 * Math.abs(at) - 0.9];
    return `M0 ${-0.06 * length}C${x * 0.3} ${-0.3 * length} ${x} ${-0.45 * length} ${x} ${end * length}`;
  };
  return [-0.62, -0.31, 0, 0.31, 0.62].map(vein).join("");
}

function part(kind, length, width, angle) {
  const group = make("g", { class: kind, transform: `rotate(${angle})` });
  group.append(make("path", { class: "blade", d: outline(length, width, kind === "sepal" ? 0.5 : 0.3) }));
  group.append(make("path", { class: "veins", d: veins(length, width) }));
  if (kind === "sepal") group.append(make("path", { class: "signal", d: outline(length * 0.36, width * 0.2, 0.3) }));
  return group;
}

/** Three sepals, one of them down, and three petals, one of them up. */
function flower([sepalLength, sepalWidth, petalLength, petalWidth]) {
  return make("g", { class: "iris" },
    ...[60, 300, 180].map((angle) => part("sepal", sepalLength, sepalWidth, angle)),
    ...[120, 240, 0].map((angle) => part("petal", petalLength, petalWidth, angle)),
    make("circle", { class: "heart", r: 0.22 }),
  );
}

const scaleOf = (values) => Math.min(1, LARGEST_CM / Math.max(...values));

/** A picture of one flower as small as a line of text. */
export function glyph(values) {
  const scale = scaleOf(values);
  const sizes = values.map((cm) => cm * scale);
  return make("svg", { class: "glyph", viewBox: "-7 -7 14 14", "aria-hidden": "true" }, flower(sizes));
}

export class Drawing {
  #svg;
  #scene = make("g", {});

  constructor(svg) {
    this.#svg = svg;
    svg.append(this.#scene);
  }

  /** `values` in cm, in the order of the features; `texts` as a person reads them. */
  draw(values, texts) {
    const scale = scaleOf(values);
    const sizes = values.map((cm) => cm * scale);
    const [sepalLength, sepalWidth, petalLength, petalWidth] = sizes;
    this.#svg.querySelector("pattern").setAttribute("patternTransform", `scale(${scale})`);
    this.#scene.replaceChildren(
      make("rect", { x: -7.5, y: -8, width: 15.5, height: 17, fill: "url(#squares)" }),
      flower(sizes),
      across("petal_width", petalWidth, -WIDEST * petalLength, RAIL.top, texts[3]),
      across("sepal_width", sepalWidth, WIDEST * sepalLength, RAIL.bottom, texts[1]),
      along("petal_length", -petalLength, Math.min(-petalLength / 2, -1.1), texts[2]),
      along("sepal_length", sepalLength, Math.max(sepalLength / 2, 1), texts[0]),
    );
    this.#svg.querySelector("title").textContent =
      `An iris seen from above: sepals ${texts[0]} long and ${texts[1]} wide, petals ${texts[2]} long and ${texts[3]} wide`;
  }
}

/** A width: a line across, above or below the flower, with its text in the middle. */
function across(name, width, from, rail, text) {
  const [half, beyond] = [width / 2, rail + Math.sign(rail) * 0.25];
  return dimension(name,
    `M${-half} ${from}V${beyond}M${half} ${from}V${beyond}`,
    `M${-half} ${rail}H${half}${tick(-half, rail)}${tick(half, rail)}`,
    { x: 0, y: rail < 0 ? rail - 0.55 : rail + 1.05, "text-anchor": "middle" },
    make("tspan", { class: "value", dx: 0.3 }, text),
  );
}

/** A length: a line along the right side, with its text beside it. */
function along(name, to, middle, text) {
  const x = RAIL.right;
  return dimension(name,
    `M0 0H${x + 0.25}M0 ${to}H${x + 0.25}`,
    `M${x} 0V${to}${tick(x, 0)}${tick(x, to)}`,
    { x: x + 0.5, y: middle - 0.15 },
    make("tspan", { class: "value", x: x + 0.5, dy: 1 }, text),
  );
}

function dimension(name, reach, rule, place, value) {
  return make("g", { class: `dimension ${name.split("_")[0]} ${name}` },
    make("path", { class: "reach", d: reach }),
    make("path", { class: "rule", d: rule }),
    make("text", place, name.replace("_", " "), value),
  );
}

const tick = (x, y) => `M${x - 0.16} ${y + 0.16}L${x + 0.16} ${y - 0.16}`;
