// Shows what was answered and what the service is doing. Decides nothing.

import { glyph } from "./flower.js";

const KEPT = 8; // recent predictions
const SLOW_MS = 1500; // after which a person is told what the workers do
const STEPS = ["accepted", "waiting", "running", "done"];

export const find = (id) => document.getElementById(id);

function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export function button(text, pressed) {
  const found = make("button", { type: "button" }, text);
  found.addEventListener("click", pressed);
  return found;
}

const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
const duration = (ms) => (ms < 1000 ? `${ms.toFixed(ms < 100 ? 1 : 0)} ms` : seconds(ms));

function bar(share) {
  const fill = make("i", {});
  fill.style.setProperty("--share", share);
  return make("span", { class: "bar" }, fill);
}

/** The likeliest class, and an element with its name as a person reads it. */
export function bestOf(shares, named) {
  const at = shares.reduce((best, { probability }, index) => (probability > shares[best].probability ? index : best), 0);
  const name = named(shares[at].class);
  return { at, name, probability: shares[at].probability, element: () => make("em", { "data-class": at % 3 }, name) };
}

/** The answer in words and as bars, one for each class in the model's order. */
export function showAnswer({ shares, times, total }, best) {
  find("verdict").replaceChildren(best.element());
  find("pinned").replaceChildren(best.element(), ` ${best.probability}`);
  find("bars").replaceChildren(...shares.map(({ class: name, probability }, at) => {
    const row = make("li", { "data-class": at % 3 }, name, " ", bar(probability), " ", make("span", {}, probability));
    row.toggleAttribute("data-best", at === best.at);
    return row;
  }));
  const who = times.task?.text ? ` by ${times.task.text.replace(" ", " version ")}` : "";
  find("by").textContent = `Answered${who} in ${duration(total)}.`;
}

/** What stands there is not the answer to the values that were refused. */
export function showFormer() {
  if (!find("bars").hasChildNodes()) return;
  find("by").textContent = "Of the values before: there is no answer to these yet.";
  if (find("pinned").childNodes.length === 2) find("pinned").append(" (before)");
}

/** The four steps of a job, with times that add up: what the service did before this page knew is not counted twice. Whether it waits or runs is known only afterwards. */
export class Life {
  #acceptedAt = 0;
  #ticker = 0;

  /** What the queue looked like when it was last seen. */
  queue = { waiting: 0, running: 0 };

  sent(began) {
    clearInterval(this.#ticker);
    this.#acceptedAt = began;
    for (const step of STEPS) this.#set(step, "next", "");
    this.#set("accepted", "now", "…");
    find("job").textContent = "";
  }

  accepted({ id, began, accepted }) {
    this.#acceptedAt = began + accepted;
    this.#set("accepted", "past", `at ${duration(accepted)}`);
    this.#set("waiting", "now", "…");
    this.#ticker = setInterval(() => this.#wait(), 200);
    this.#name(id);
  }

  answered({ id, accepted, times, total }) {
    clearInterval(this.#ticker);
    const running = Math.min(times.task?.ms ?? 0, total - accepted);
    const waiting = Math.max(0, Math.min(times.queued?.ms ?? 0, total - accepted - running));
    this.#set("waiting", "past", times.queued ? `for ${duration(waiting)}` : "");
    this.#set("running", "past", times.task ? `for ${duration(running)}` : "");
    this.#name(id);
    this.#set("done", "past", `at ${duration(total)}`);
  }

  /** What passes does not end a job that was accepted. */
  failed(refusal) {
    const at = STEPS.find((step) => find(step).dataset.state === "now");
    if (!at || (at !== "accepted" && refusal.passes)) return;
    clearInterval(this.#ticker);
    this.#set(at, "failed", refusal.title, at === "accepted" ? "not accepted" : "failed");
  }

  #name(id) {
    find("job").replaceChildren("Job ", make("code", {}, id));
  }

  #wait() {
    const waited = performance.now() - this.#acceptedAt;
    if (waited < SLOW_MS) return;
    const { waiting, running } = this.queue;
    this.#set("waiting", "now", `${seconds(waited)} so far`);
    find("job").textContent = running ? `The workers are busy: ${waiting} waiting, ${running} running.`
      : "No worker is running a job. One may be starting; this job keeps its place.";
  }

  #set(name, state, text, title = name) {
    const step = find(name);
    step.dataset.state = state;
    step.setAttribute("aria-current", state === "now" ? "step" : "false");
    step.firstElementChild.textContent = title;
    step.lastElementChild.textContent = text;
  }
}

/** Put a prediction on top of the last ones; it `replaces` a top one that was a slider on its way here. */
export function showRecent({ values, total }, best, drawn, replaces, again) {
  const [past, sizes] = [find("past"), Object.values(values)];
  const use = button("use", again);
  use.setAttribute("aria-label", `Use ${sizes.join(", ")} again, ${best.name}`);
  if (replaces || past.firstElementChild.matches(".soft")) past.firstElementChild.remove();
  past.prepend(make("li", {},
    drawn ? glyph(sizes.map(Number)) : "",
    make("span", {}, sizes.join(" · ")),
    make("span", { class: "what" }, best.element(), ` ${best.probability}`),
    make("span", { class: "soft" }, duration(total)),
    use,
  ));
  past.children[KEPT]?.remove();
}

/** Model, route and queues as the service describes them; returns how many jobs wait and run. */
export function showService({ model, versions, redis_up: up }) {
  const [waiting, running] = ["waiting", "running"].map((name) => versions.reduce((sum, row) => sum + row[name], 0));
  find("versions").replaceChildren(...versions.map(({ version, weight, ...row }) =>
    make("tr", {},
      make("th", { scope: "row" }, version),
      make("td", {}, `${weight} %`, bar(weight / 100)),
      ...[row.waiting, row.running, row.answered_per_second].map((number) => make("td", {}, String(number))),
    )));
  find("service").querySelector("table").hidden = false;
  const queue = up ? `is up, ${waiting} waiting, ${running} running` : "cannot be used right now";
  showState(up, `Model ${model}: the queue ${queue}.`);
  return { waiting, running };
}

export function showState(fine, text) {
  find("state").dataset.fine = fine;
  find("state").textContent = text;
}

/** A refusal in the service's own words; that a key is wanted is no trouble before one was given. */
export function showRefusal({ title, message, requestId, needsKey, greets }) {
  showTrouble(...(greets ? ["This service asks for a key."] : [make("b", {}, title), `: ${message}.`]));
  find("notice").classList.toggle("calm", Boolean(greets));
  find("request").hidden = !requestId || greets;
  find("request").lastElementChild.textContent = requestId ?? "";
  find("key").hidden = !needsKey;
  find("close").hidden = needsKey;
  if (needsKey) find("secret").focus();
}

export function showTrouble(...words) {
  find("trouble").replaceChildren(...words);
  find("notice").classList.remove("calm");
  find("notice").hidden = false;
}

export function showCountdown(left) {
  find("retry").hidden = false;
  find("countdown").textContent = `Trying again in ${left} s.`;
}

export function hideRefusal() {
  find("notice").hidden = find("retry").hidden = true;
}
