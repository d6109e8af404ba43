// Puts the page together: sliders from the model's card, one desk for jobs, a look at the service every other second.

import { Drawing, isFlower } from "./flower.js";
import { Desk, ask, curl, secret } from "./jobs.js";
import { Measure } from "./measure.js";
import {
  Life, bestOf, button, find, hideRefusal, showAnswer, showCountdown, showFormer, showRecent, showRefusal, showService,
  showState, showTrouble,
} from "./panels.js";

const LOOK_MS = 2000;
const SAME_GESTURE_MS = 700; // answers closer than this belong to one movement of a slider

class Page {
  #lastAnswer = -SAME_GESTURE_MS;
  #speak = 0;
  #life = new Life();

  countdown = showCountdown;
  retrying = hideRefusal;

  constructor(model, desk) {
    this.drawing = isFlower(model.features) ? new Drawing(find("drawing")) : null;
    this.named = (name) => (this.drawing ? `Iris ${name}` : name);
    this.measures = model.features.map((feature) => new Measure(feature, () => this.changed()));
    this.desk = desk;
    desk.tell = this;
    if (!this.drawing) {
      find("flower").hidden = true;
      document.title = document.querySelector("h1").textContent = `What does ${model.model} say?`;
      find("lede").textContent = "Each change goes onto a queue as a job, and a worker answers.";
    }
    find("measures").replaceChildren(...this.measures.map(({ box }) => box));
    find("hello").remove();
    document.querySelector("main").classList.remove("empty");
    this.offer(model);
    this.look(model);
    this.use(model.features.map(({ training }) => training.mean));
  }

  /** Rows of the card as buttons: a typical one of each class, and the least certain. */
  offer({ classes, examples }) {
    const certainty = ({ probabilities }) => Math.max(...probabilities);
    const offers = classes.map((name) => [`a typical ${name}`, examples.find(({ note }) => note === `typical ${name}`)]);
    offers.push(["one between two", [...examples].sort((a, b) => certainty(a) - certainty(b))[0]]);
    const known = offers.filter(([, example]) => example);
    find("examples").append(...known.map(([title, { row }]) => button(title, () => this.use(row))));
    find("examples").hidden = false;
  }

  use(values) {
    this.measures.forEach((measure, at) => measure.set(values[at]));
    this.changed();
  }

  changed() {
    const values = Object.fromEntries(this.measures.map(({ feature, value }) => [feature.name, value]));
    if (this.measures.every(({ accepted }) => accepted)) {
      this.drawing?.draw(Object.values(values).map(Number), this.measures.map(({ brief }) => brief));
    }
    find("curl").textContent = curl(values);
    find("answer").classList.add("stale");
    this.desk.want(values);
  }

  look(model) {
    this.#life.queue = showService(model);
  }

  sent(began) {
    hideRefusal();
    this.#life.sent(began);
  }

  accepted(job) {
    this.#life.accepted(job);
  }

  answered(job) {
    const best = bestOf(job.shares, this.named);
    const now = performance.now();
    const again = () => this.use(Object.values(job.values));
    hideRefusal();
    showAnswer(job, best);
    find("answer").classList.toggle("stale", !job.newest);
    this.#life.answered(job);
    showRecent(job, best, Boolean(this.drawing), now - this.#lastAnswer < SAME_GESTURE_MS, again);
    this.#lastAnswer = now;
    clearTimeout(this.#speak);
    const spoken = `${best.name}, probability ${best.probability}.`;
    this.#speak = setTimeout(() => (find("spoken").textContent = spoken), SAME_GESTURE_MS);
  }

  refused(refusal) {
    this.#life.failed(refusal);
    showRefusal(refusal);
    showFormer();
    this.measures.find(({ feature }) => feature.name === refusal.field)?.blame(refusal.message);
  }
}

async function firstLook(desk) {
  for (;;) {
    try {
      return (await ask("model")).body;
    } catch (refusal) {
      await desk.outlast(refusal);
    }
  }
}

async function lookAgain(page) {
  try {
    if (!document.hidden) page.look((await ask("model")).body);
  } catch (refusal) {
    showState(false, refusal.message);
  }
  setTimeout(lookAgain, LOOK_MS, page);
}

function keyForm(desk) {
  const keep = (key) => {
    secret.set(key);
    find("secret").value = "";
    find("forget").hidden = !key;
  };
  find("key").addEventListener("submit", (event) => {
    event.preventDefault();
    const key = find("secret").value.trim();
    if (!secret.fits(key)) return showTrouble("This key has characters that no key has.");
    keep(key);
    desk.now();
  });
  find("forget").addEventListener("click", () => keep(""));
  find("forget").hidden = !secret.get();
}

async function start() {
  const desk = new Desk({ refused: showRefusal, countdown: showCountdown, retrying: hideRefusal });
  find("close").addEventListener("click", () => (find("notice").hidden = true));
  find("now").addEventListener("click", () => desk.now());
  find("controls").addEventListener("submit", (event) => event.preventDefault());
  keyForm(desk);
  const page = new Page(await firstLook(desk), desk);
  setTimeout(lookAgain, LOOK_MS, page);
}

start();
