// Asks the service. At most one job is under way; the newest values win; after a refusal it comes back when told to.
// Knows nothing of the page: it tells what happens, by name.

const API = new URL("../iris/api/v1.0/", import.meta.url);
const KEY = "iris-api-key";
const GAP_MS = 150; // from one job to the next while a slider moves: six a second at the most
const LONGEST_WAIT_SECONDS = 10; // for a result; a service that allows less says so
const UNTOLD_RETRY_SECONDS = 3; // where no Retry-After came

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));

export const secret = {
  fits: (value) => /^[!-~]+$/.test(value), // what a header can carry, and a key is made of
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
};

/** What the service would not do, in its own words; status 0: it did not answer. */
export class Refusal extends Error {
  constructor(status, body, retryAfter) {
    super(body.error ?? (status ? `the service answered ${status}` : "the service does not answer"));
    const title = status ? `${status} ${body.reason ?? body.code ?? ""}` : "No answer";
    Object.assign(this, { status, title, field: body.field, requestId: body.request_id });
    this.needsKey = status === 401 || status === 403;
    this.greets = this.needsKey && !secret.get();
    this.passes = this.needsKey || [0, 408, 429, 502, 503, 504].includes(status); // its job may still be answered
    this.retrySeconds = Number(retryAfter) || UNTOLD_RETRY_SECONDS;
  }
}

/** GET a page of the API; returns its status, JSON and Server-Timing, or throws a Refusal. */
export async function ask(path) {
  const headers = secret.get() ? { Authorization: `Bearer ${secret.get()}` } : {};
  let response, body;
  try {
    response = await fetch(new URL(path, API), { headers, cache: "no-store" });
    body = await response.json();
  } catch {
    if (!response || response.ok) throw new Refusal(0, {});
  }
  if (!response.ok) throw new Refusal(response.status, body ?? {}, response.headers.get("Retry-After"));
  return { status: response.status, body, times: serverTiming(response.headers.get("Server-Timing") ?? "") };
}

function serverTiming(header) {
  const metrics = header.matchAll(/(\w+);dur=([\d.]+)(?:;desc="([^"]*)")?/g);
  return Object.fromEntries([...metrics].map(([, name, ms, text]) => [name, { ms: Number(ms), text }]));
}

export const curl = (values) =>
  ["getpred?" + new URLSearchParams(values), "result/JOB_ID?wait=10"]
    .map((path) => `curl '${new URL(path, API)}'`).join("\n");

/** Submits what is wanted, one job after the other, and waits out refusals that pass. */
export class Desk {
  #wanted = null;
  #job = null;
  #busy = false;
  #waitSeconds = LONGEST_WAIT_SECONDS;
  #end = () => {};

  /** `tell` has sent, accepted, answered, refused, countdown and retrying; it may be replaced. */
  constructor(tell) {
    this.tell = tell;
  }

  /** Do not wait any longer. */
  now() {
    this.#end();
  }

  /** Resolves when it is time to try again: after Retry-After, or once there is a key. */
  async outlast(refusal) {
    this.tell.refused(refusal);
    let over = false;
    const ended = new Promise((resolve) => (this.#end = resolve)).then(() => (over = true));
    for (let left = refusal.retrySeconds; left > 0 && !over; left -= 1) {
      if (!refusal.needsKey) this.tell.countdown(left);
      await (refusal.needsKey ? ended : Promise.race([ended, pause(1000)]));
    }
    this.tell.retrying();
  }

  /** Ask for a prediction of these values, after the job under way and instead of any values that still wait. */
  want(values) {
    this.#wanted = values;
    if (!this.#busy) this.#work();
  }

  async #work() {
    this.#busy = true;
    while (this.#wanted || this.#job) {
      await this.#step().catch((refusal) => this.#recover(refusal));
    }
    this.#busy = false;
  }

  async #step() {
    const job = (this.#job ??= await this.#submit());
    const asked = performance.now();
    const { status, body, times } = await ask(`result/${job.id}?wait=${this.#waitSeconds}`);
    // a wait that ended early, as when the service is being stopped, is not repeated at once
    if (status === 202) return pause(1000 - (performance.now() - asked));
    this.#job = null;
    const total = performance.now() - job.began;
    this.tell.answered({ ...job, shares: body.result, times, total, newest: !this.#wanted });
    await pause(GAP_MS - total);
  }

  async #submit() {
    const [values, began] = [this.#wanted, performance.now()];
    this.#wanted = null;
    this.tell.sent(began);
    try {
      const { body } = await ask(`getpred?${new URLSearchParams(values)}`);
      const job = { id: body.job_id, values, began, accepted: performance.now() - began };
      this.tell.accepted(job);
      return job;
    } catch (refusal) {
      if (refusal.passes) this.#wanted ??= values;
      throw refusal;
    }
  }

  async #recover(refusal) {
    if (refusal.passes) return this.outlast(refusal);
    if (refusal.field === "wait") return (this.#waitSeconds = Math.floor(this.#waitSeconds / 2));
    this.#job = null;
    this.tell.refused(refusal);
  }
}
