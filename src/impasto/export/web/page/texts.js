/** Every word of the page, in English and in Chinese. */

const TEXTS = {
  en: {
    promise: 'Your pictures never leave this device.',
    picture: 'The picture',
    painted: 'The painted picture',
    settings: 'Settings',
    source: 'What to paint',
    photo: 'Photo',
    video: 'Video',
    camera: 'Camera',
    styles: 'Styles',
    several: 'Choose several to mix them.',
    strength: 'Strength',
    size: 'Longest side',
    pixels: '{side} px',
    original: 'Original',
    record: 'Record',
    stop: 'Stop',
    download: 'Download',
    drop: 'Drop a photo or a video here',
    loading: 'Loading the painter …',
    painting: 'Painting …',
    done: '{width} × {height} px in {seconds} s · {backend}',
    rate: '{rate} frames a second · {width} × {height} px · {backend}',
    webgpu: 'WebGPU',
    wasm: 'WebAssembly, {threads}\u00a0threads',
    single: 'WebAssembly, one\u00a0thread',
    unreadable: 'This file is no picture or video that the browser can read.',
    refused: 'The camera cannot be used: {reason}',
    failed: 'Painting failed: {reason}',
    smaller: 'Memory ran out: choose a smaller longest side.',
    trained: 'Network: {name}. Its paintings: {licence}.',
    language: '中文',
    names: {},
  },
  zh: {
    promise: '图片不会离开这台设备。',
    picture: '画面',
    painted: '画好的图片',
    settings: '设置',
    source: '画什么',
    photo: '照片',
    video: '视频',
    camera: '摄像头',
    styles: '风格',
    several: '选几种，就混在一起。',
    strength: '强度',
    size: '最长边',
    pixels: '{side} 像素',
    original: '原图',
    record: '录制',
    stop: '停止',
    download: '下载',
    drop: '把照片或视频放在这里',
    loading: '正在加载 ……',
    painting: '正在画 ……',
    done: '{width} × {height} 像素，用时 {seconds} 秒 · {backend}',
    rate: '每秒 {rate} 帧 · {width} × {height} 像素 · {backend}',
    webgpu: 'WebGPU',
    wasm: 'WebAssembly，{threads} 个线程',
    single: 'WebAssembly，单线程',
    unreadable: '浏览器读不出这个文件里的图片或视频。',
    refused: '无法使用摄像头：{reason}',
    failed: '没有画成：{reason}',
    smaller: '内存不够：请把最长边调小。',
    trained: '网络：{name}。所学的画：{licence}。',
    language: 'English',
    names: {
      cypresses: '柏树', irises: '鸢尾花', 'straw-hat': '草帽', 'grande-jatte': '大碗岛', circus: '马戏团', primavesi: '少女像',
      'jas-de-bouffan': '热德布芳', whalers: '捕鲸船', 'hail-mary': '万福玛利亚', seashore: '海滨', 'moulin-rouge': '红磨坊',
      'inspection-tour': '南巡图',
    },
  },
};

let language = firstLanguage();

function firstLanguage() {
  const kept = localStorage.getItem('language');
  if (kept in TEXTS) return kept;
  return navigator.language.startsWith('zh') ? 'zh' : 'en';
}

/** A text in the visitor's language, with values in place of {names}. */
export function text(key, values = {}) {
  return TEXTS[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** A style's name for people: in Chinese where there is one, else its own words. */
export function styleName(name) {
  const words = name.replaceAll(/[-_]+/g, ' ');
  return TEXTS[language].names[name] ?? words.charAt(0).toUpperCase() + words.slice(1);
}

/** Change to the other language, and remember it. */
export function switchLanguage() {
  language = language === 'en' ? 'zh' : 'en';
  localStorage.setItem('language', language);
}

/** Put the texts of the language wherever the page names one. */
export function writeTexts() {
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
  for (const element of document.querySelectorAll('[data-text]')) element.textContent = text(element.dataset.text);
  for (const element of document.querySelectorAll('[data-label]')) element.ariaLabel = text(element.dataset.label);
  const button = document.getElementById('language');
  button.textContent = text('language');
  button.lang = language === 'zh' ? 'en' : 'zh';
}
