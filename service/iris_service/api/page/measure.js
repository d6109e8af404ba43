// One measurement: a slider for the usual values, and a field for any, which the service judges.

const MARGIN = 0.1; // of the training range, on both sides of it
const STEPS = 20; // a slider has at least so many

/** A slider's range: where the training data lay and a little beyond, inside what is accepted. */
function rangeOf({ minimum, maximum, training }) {
  const span = training.maximum - training.minimum || maximum - minimum;
  const digits = Math.max(0, -Math.floor(Math.log10(span / STEPS)));
  const per = 10 ** digits; // steps in a unit
  const rounded = (way, value) => way(Number((value * per).toFixed(6))) / per;
  return {
    from: Math.max(minimum, rounded(Math.floor, training.minimum - MARGIN * span)),
    to: Math.min(maximum, rounded(Math.ceil, training.maximum + MARGIN * span)),
    step: 1 / per,
    digits,
  };
}

export class Measure {
  constructor(feature, changed) {
    this.feature = feature;
    this.range = rangeOf(feature);
    this.box = document.getElementById("measure").content.firstElementChild.cloneNode(true);
    this.box.classList.add(feature.name.split("_")[0]);
    [this.number, this.slider] = this.box.querySelectorAll("input");
    this.fault = this.box.querySelector(".fault");
    this.#describe(feature);
    for (const input of [this.number, this.slider]) {
      input.addEventListener(input === this.slider ? "input" : "change", () => (this.set(input.value), changed()));
    }
  }

  #describe({ name, unit, training }) {
    const title = name.replaceAll("_", " ");
    const label = this.box.querySelector("label");
    [label.textContent, label.htmlFor, this.slider.id, this.fault.id] = [title, name, name, `${name}-fault`];
    this.number.setAttribute("aria-label", `${title} in ${unit}, exactly`);
    const texts = [unit, this.#round(training.minimum), this.#round(training.maximum)];
    this.box.querySelectorAll("span > span, .ends span").forEach((span, at) => (span.textContent = texts[at]));
    const { from, to, step } = this.range;
    Object.assign(this.slider, { min: from, max: to, step });
    this.box.style.setProperty("--low", (training.minimum - from) / (to - from));
    this.box.style.setProperty("--high", (training.maximum - from) / (to - from));
  }

  #round = (value) => value.toFixed(this.range.digits);

  /** A number, or the text that a person gave. */
  set(value) {
    this.value = this.number.value = typeof value === "number" ? this.#round(value) : value;
    this.slider.value = value;
    this.slider.setAttribute("aria-valuetext", this.text);
    const { minimum, maximum } = this.feature.training;
    this.box.querySelector("em").hidden = this.value >= minimum && this.value <= maximum;
    this.blame("");
  }

  get text() {
    return `${this.value} ${this.feature.unit}`;
  }

  /** As the drawing has room for it. */
  get brief() {
    const digits = String(this.value).length > 6 ? Number(Number(this.value).toPrecision(3)) : this.value;
    return `${digits} ${this.feature.unit}`;
  }

  get accepted() {
    return this.value !== "" && this.value >= this.feature.minimum && this.value <= this.feature.maximum;
  }

  blame(message) {
    this.fault.hidden = !message;
    this.fault.textContent = message;
    for (const input of [this.slider, this.number]) {
      input.setAttribute("aria-invalid", String(Boolean(message)));
      input.setAttribute("aria-describedby", message ? this.fault.id : "");
    }
  }
}
