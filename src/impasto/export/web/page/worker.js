/** Runs networks with ONNX Runtime Web: on the graphics processor by WebGPU, else on the processor by WebAssembly. */

let ort, session, address, codeLength, state;

const KINDS = { open, paint };

self.onmessage = async ({ data }) => {
  const { id, kind, ...values } = data;
  try {
    const { transfer = [], ...made } = await KINDS[kind](values);
    self.postMessage({ id, ...made }, transfer);
  } catch (error) {
    self.postMessage({ id, error: error?.message ?? String(error) });
  }
};

async function open(values) {
  ({ address, codeLength } = values);
  if (values.wanted !== 'wasm' && (await hasGraphics())) {
    try {
      await start('webgpu');
      return state;
    } catch { /* some drivers promise more than they do */ }
  }
  await start('wasm');
  return state;
}

async function hasGraphics() {
  try {
    return Boolean(await navigator.gpu?.requestAdapter());
  } catch {
    return false;
  }
}

async function start(backend) {
  const threads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, 8) : 1;
  ort = await import(backend === 'webgpu' ? './ort/ort.webgpu.min.mjs' : './ort/ort.wasm.min.mjs');
  ort.env.logLevel = 'error';
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = new URL('ort/', import.meta.url).href;
  await session?.release();
  const graph = new Uint8Array(await (await fetch(address)).arrayBuffer());
  session = await ort.InferenceSession.create(graph, { executionProviders: [backend], logSeverityLevel: 3 });
  state = { backend, threads };
  if (backend === 'webgpu') await warmUp();
}

/** Paint a small picture: drivers that fail or give no numbers show it here, and not in the visitor's picture. */
async function warmUp() {
  const ramp = Float32Array.from({ length: 3 * 32 * 32 }, (_, at) => (at % 32) / 32);
  const pastiche = await run(ramp, 32, 32, new Float32Array(codeLength).fill(1));
  if (!pastiche.every(Number.isFinite)) throw new Error('WebGPU gives no numbers');
}

async function run(planes, width, height, code) {
  const image = new ort.Tensor('float32', planes, [1, 3, height, width]);
  const style = new ort.Tensor('float32', Float32Array.from(code), [1, code.length]);
  const { pastiche } = await session.run({ image, code: style });
  const data = await pastiche.getData();
  pastiche.dispose();
  return data;
}

async function paint({ pixels, width, height, code, strength }) {
  const began = performance.now();
  const bytes = new Uint8ClampedArray(pixels);
  const area = width * height;
  const planes = new Float32Array(3 * area);
  for (let at = 0; at < area; at++) {
    planes[at] = bytes[4 * at] / 255;
    planes[area + at] = bytes[4 * at + 1] / 255;
    planes[2 * area + at] = bytes[4 * at + 2] / 255;
  }
  let painted;
  try {
    painted = await run(planes, width, height, code);
  } catch (error) {
    if (state.backend !== 'webgpu') throw error;
    await start('wasm');
    painted = await run(planes, width, height, code);
  }
  for (let at = 0; at < area; at++) {
    for (let channel = 0; channel < 3; channel++) {
      const before = planes[channel * area + at];
      bytes[4 * at + channel] = 255 * (before + strength * (painted[channel * area + at] - before));
    }
  }
  return { ...state, pixels, milliseconds: performance.now() - began, transfer: [pixels] };
}
