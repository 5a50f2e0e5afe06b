/** Gives this process a `navigator.gpu` made by Dawn, for engines that expect a browser. Returns the adapter's name. */
export async function provideWebGpu(): Promise<string> {
  const { create, globals } = await import('webgpu');
  Object.assign(globalThis, globals);
  const gpu = create([]);
  // As a property of navigator it also stays referenced, which Dawn needs.
  Object.defineProperty(globalThis.navigator, 'gpu', { value: gpu, configurable: true });
  const adapter = await gpu.requestAdapter();
  if (!adapter) throw new Error('no WebGPU adapter');
  return adapter.info.description || adapter.info.device || adapter.info.vendor;
}
