// Settings as a link.

import { state } from './state.js';

const HEAD = '#look=';

export function toLink() {
  const { quality, size, method, values, keepColor, protect } = state;
  const styles = state.chosen.filter(({ id }) => !id.startsWith('own:')).map(({ id, weight }) => [id, Number(weight.toFixed(4))]);
  const bytes = new TextEncoder().encode(JSON.stringify({ styles, quality, size, method, values, keepColor, protect }));
  const text = btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
  return `${location.origin}${location.pathname}${HEAD}${text}`;
}

// What a link says, as changes of the state, and whether it names a style that is not here. Null for no link. Nothing in
// it is trusted: what does not fit the methods' schemas is left out.
export function fromLink(hash) {
  if (!hash.startsWith(HEAD)) return null;
  let given;
  try {
    const text = atob(hash.slice(HEAD.length).replaceAll('-', '+').replaceAll('_', '/'));
    given = JSON.parse(new TextDecoder().decode(Uint8Array.from(text, (letter) => letter.charCodeAt(0))));
  } catch {
    return null;
  }
  if (typeof given !== 'object' || given === null) return null;
  const rows = Array.isArray(given.styles) ? given.styles.filter(Array.isArray) : [];
  const chosen = rows.map(([id, weight]) => ({ id, weight: Number(weight) }))
    .filter(({ id, weight }) => weight >= 0 && weight <= 1e6 && state.styles.some((style) => style.id === id)).slice(0, 4);
  const one = (value, among, usual) => (among.includes(value) ? value : usual);
  return {
    missing: chosen.length < rows.length,
    changes: {
      chosen,
      quality: one(given.quality, ['draft', 'good', 'best'], 'good'),
      size: Number.isInteger(given.size) && given.size >= 0 && given.size <= 16384 ? given.size : 768,
      method: one(given.method, state.methods.map((row) => row.name), 'auto'),
      keepColor: one(given.keepColor, ['luminance', 'histogram'], ''),
      protect: given.protect === true,
      values: fitting(given.values),
    },
  };
}

// The values that some method takes.
export function fitting(values) {
  const found = {};
  for (const [name, value] of Object.entries(values ?? {})) {
    const takes = (property) => property && (property.enum ? property.enum.includes(value) : typeof value === 'number' && value >= property.minimum && value <= property.maximum);
    if (state.methods.some((row) => takes(row.settings.properties[name]))) found[name] = value;
  }
  return found;
}
