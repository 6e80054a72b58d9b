// Requests to the server, and what its frames hold.

export class Gone extends Error {}  // the session is not there any more

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The playground's program does not answer: it has ended, or was stopped.");
  }
  if (answer.ok) return answer;
  let text = answer.statusText;
  try { text = (await answer.json()).error; } catch { /* no JSON: the status will do */ }
  if (answer.status === 410) throw new Gone(text);
  throw new Error(text);
}

const post = (path, body) => ask(path, {method: "POST", body});

export const choices = async () => (await ask("choices")).json();
export const open = async (query) => (await post("open", query)).json();
export const change = async (session, query) => (await post(`${session}/change`, query)).json();
export const reset = async (session) => (await post(`${session}/reset`, "")).json();
export const script = async (session) => (await ask(`${session}/script`)).text();
export const sendCsv = async (session, query, body) =>
  (await post(`${session}/csv?${query}`, body)).json();
export const close = (session) => navigator.sendBeacon(`${session}/close`, "");

export async function advance(session, amount) {
  const answer = await post(`${session}/advance`, JSON.stringify(amount));
  return decode(await answer.arrayBuffer());
}

export const OUTPUT = 100, UNIT = 32;  // points along a side of the maps

function decode(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const frame = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  frame.rest = buffer.slice(4 + length);
  return frame;
}

// Cuts what follows the JSON into weights and maps of a network of these sizes.
export function unpack(frame, sizes) {
  const weights = [], biases = [], maps = [];
  let at = 0;
  for (let l = 1; l < sizes.length; l++) {
    const n = sizes[l - 1] * sizes[l];
    weights.push(new Float32Array(frame.rest, at, n));
    biases.push(new Float32Array(frame.rest, at + 4 * n, sizes[l]));
    at += 4 * (n + sizes[l]);
  }
  const output = new Uint8Array(frame.rest, at, OUTPUT * OUTPUT);
  at += OUTPUT * OUTPUT;
  for (let l = 1; l < sizes.length - 1; l++) {
    maps.push(Array.from({length: sizes[l]}, (_, i) =>
      new Uint8Array(frame.rest, at + i * UNIT * UNIT, UNIT * UNIT)));
    at += sizes[l] * UNIT * UNIT;
  }
  return {weights, biases, output, maps};
}
