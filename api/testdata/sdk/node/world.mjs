// The world that run.py made on the server, and what each unit must get in it: computed here, not asked of the server.
import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';

export const BASE = process.env.BASE_URL;
export const CLIENT_KEY = process.env.CLIENT_KEY;
export const FRONTEND_KEY = process.env.FRONTEND_KEY;
export const WORLD = JSON.parse(readFileSync(process.env.WORLD, 'utf8'));
export const DEFAULTS = { string: 'code default', number: -77, boolean: false, json: { code: 'default' } };
export const METHODS = { string: 'getStringDetails', number: 'getNumberDetails', boolean: 'getBooleanDetails', json: 'getObjectDetails' };
export const same = isDeepStrictEqual;
export const ascii = (text) => /^[\x00-\x7f]*$/.test(text);
export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
export const texts = (attributes) => Object.fromEntries(Object.entries(attributes).map(([name, value]) => [name, String(value)]));

/** murmur3_x86_32 (Austin Appleby) of "salt:unit" in UTF-8, seed 86028157, modulo 100000. */
export function bucket(salt, unit) {
  const bytes = Buffer.from(`${salt}:${unit}`, 'utf8'), whole = bytes.length & ~3;
  const rotl = (x, n) => (x << n) | (x >>> (32 - n));
  const mixed = (k) => Math.imul(rotl(Math.imul(k, 0xcc9e2d51), 15), 0x1b873593);
  let h = 86028157;
  for (let i = 0; i < whole; i += 4) h = (Math.imul(rotl(h ^ mixed(bytes.readInt32LE(i)), 13), 5) + 0xe6546b64) | 0;
  let tail = 0;
  for (let i = bytes.length - 1; i >= whole; i--) tail = (tail << 8) | bytes[i];
  if (bytes.length > whole) h ^= mixed(tail);
  h ^= bytes.length;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return ((h ^ (h >>> 16)) >>> 0) % 100000;
}

const inside = (gate, unit) => {
  const b = bucket(gate.salt, unit);
  return gate.ranges.some((r) => r.start <= b && b < r.end);
};

/** Compares two plain versions such as 1.10.0. */
function newer(a, b) {
  const [x, y] = [a, b].map((v) => v.split('.').map(Number));
  const i = x.findIndex((n, at) => n !== y[at]);
  return i >= 0 && x[i] > y[i];
}

const holds = {
  IN: (value, values) => values.includes(String(value)),
  NUM_GTE: (value, [least]) => Number(value) >= Number(least),
  SEMVER_GT: (value, [than]) => newer(value, than),
};

/** The variant of a unit, or null. */
export function expected(e, unit) {
  if (e.status !== 'running' || e.holdouts.some((h) => inside(h, unit.id)) || (e.layer && !inside(e.layer, unit.id))) return null;
  for (const c of e.targeting) {
    const value = unit.attributes[c.attribute];
    if (value === undefined || !holds[c.operator](value, c.values)) return null;
  }
  const b = bucket(e.salt, unit.id);
  return e.ranges.find((r) => r.start <= b && b < r.end)?.variant ?? null;
}

/** Every [experiment, unit, variant or null]. */
export function* cases() {
  for (const e of WORLD.experiments) for (const u of WORLD.units) yield [e, u, expected(e, u)];
}

/** Tells whether an OpenFeature evaluation is what a unit must get. */
export function evaluated(e, want, d) {
  if (d.errorCode) return false;
  if (want) return d.variant === want && same(d.value, e.values[want]) && d.reason === 'SPLIT';
  return d.variant === 'not_enrolled' && ['DEFAULT', 'DISABLED'].includes(d.reason) && same(d.value, e.values[e.control]);
}

/** Tells whether an Unleash variant is what a unit must get. */
export function toggled(e, want, v) {
  if (!want) return !(v.name in e.values);
  if (!v.enabled || v.name !== want || !v.payload) return false;
  return same(v.payload.type === 'string' ? v.payload.value : JSON.parse(v.payload.value), e.values[want]);
}

/** Counts what was compared and ends the program. */
export class Tally {
  passed = 0;
  wrong = [];
  check(what, ok, got) {
    if (ok) this.passed++;
    else this.wrong.push(`${what}: ${JSON.stringify(got) ?? String(got)}`);
  }
  finish() {
    for (const line of this.wrong.slice(0, 5)) console.log('WRONG', line);
    console.log(`${this.passed} right, ${this.wrong.length} wrong`);
    process.exit(this.wrong.length ? 1 : 0); // the SDKs' timers may still run
  }
}

/** Stops the experiment that run.py made for this driver, as a person would, and returns the moment. */
export async function stopSwitch() {
  const answer = await fetch(`${BASE}/v1/experiments/${process.env.SWITCH}/stop`, { method: 'POST', headers: { Authorization: `Bearer ${process.env.ADMIN_KEY}` } });
  if (!answer.ok) throw new Error(`stop: ${answer.status} ${await answer.text()}`);
  return Date.now();
}
