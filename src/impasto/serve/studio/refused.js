// What could not be done, in the words of the reader.

import { keyGiven, setKey } from './api.js';
import { dialog, h, toast } from './dom.js';
import { NotAPicture } from './photo.js';
import { t } from './text.js';

export function refused(error, { action = null } = {}) {
  if (error.name === 'AbortError') return;
  if (error instanceof NotAPicture) toast(t('notPicture', error.message || '?'), { hint: t('notPictureHint'), kind: 'error' });
  else if (error.status === 401) askForKey();
  else if (error.status === 507 && /disk|space/i.test(error.message)) toast(t('full'), { hint: t('fullHint'), kind: 'error', action });
  else if (error.status === 413) toast(t('tooLarge'), { hint: error.hint, kind: 'error' });
  else if (error.status === 0) toast(t('kept'), {});
  else if (error.status) toast(error.message, { hint: error.hint, kind: 'error', action });
  else {
    toast(t('failed'), { hint: String(error.message ?? error), kind: 'error', action });
    console.warn(error);
  }
}

let asking = false;

function askForKey() {
  if (asking) return;
  asking = true;
  const input = h('input', { type: 'password', 'aria-label': t('key'), autocomplete: 'off', value: keyGiven() });
  const box = dialog(t('keyTitle'), t('close'), h('form', { class: 'row', onsubmit: (event) => { event.preventDefault(); setKey(input.value.trim()); location.reload(); } },
    input, h('button', { class: 'primary', text: t('enter') })));
  box.addEventListener('close', () => { asking = false; });
}
