// An image to ask about: drawn here, or a file. It is decoded by the browser and sent as pixels.
import { useEffect, useRef, useState } from 'preact/hooks';

export interface Image {
  width: number;
  height: number;
  channels: 1 | 3;
  /** Base64 of bytes, row by row, channels last. */
  pixels: string;
}

const SIDE = 196;
/** What is drawn is sent at the size of a handwritten digit; the model scales whatever it gets. */
const SENT = 28;
/** No longer side of a file is sent: no base looks at more. */
const LONGEST = 512;

interface Props {
  onImage(image: Image): void;
  onError(message: string): void;
  busy: boolean;
}

export function DrawingPad({ onImage, onError, busy }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const last = useRef<[number, number] | null>(null);
  const [over, setOver] = useState(false);
  const clear = (): void => {
    const { context } = open(canvas.current!);
    context.fillStyle = '#000';
    context.fillRect(0, 0, SIDE, SIDE);
  };
  useEffect(clear, []);

  const stroke = (event: PointerEvent): void => {
    if (last.current === null) return;
    const { context } = open(canvas.current!);
    const box = canvas.current!.getBoundingClientRect();
    const to: [number, number] = [
      ((event.clientX - box.left) * SIDE) / box.width,
      ((event.clientY - box.top) * SIDE) / box.height,
    ];
    Object.assign(context, { strokeStyle: '#fff', lineWidth: 17, lineCap: 'round', lineJoin: 'round' });
    context.beginPath();
    context.moveTo(...last.current);
    context.lineTo(...to);
    context.stroke();
    last.current = to;
  };
  const begin = (event: PointerEvent): void => {
    event.preventDefault();
    canvas.current!.setPointerCapture(event.pointerId);
    const box = canvas.current!.getBoundingClientRect();
    last.current = [
      ((event.clientX - box.left) * SIDE) / box.width,
      ((event.clientY - box.top) * SIDE) / box.height,
    ];
    stroke(event);
  };
  const end = (): void => {
    if (last.current === null) return;
    last.current = null;
    onImage(digitOf(canvas.current!));
  };
  const take = async (file: File | undefined): Promise<void> => {
    if (file === undefined) return;
    try {
      const image = await createImageBitmap(file);
      const scale = Math.min(1, LONGEST / Math.max(image.width, image.height));
      const [width, height] = [Math.round(image.width * scale), Math.round(image.height * scale)];
      clear();
      const fit = SIDE / Math.max(width, height);
      const [w, h] = [width * fit, height * fit];
      open(canvas.current!).context.drawImage(image, (SIDE - w) / 2, (SIDE - h) / 2, w, h);
      onImage(pixelsOf(image, width, height, 3));
    } catch {
      onError('This file is no image that the browser can read.');
    }
  };
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is of a form
    <div
      class="pad"
      role="group"
      aria-label="An image to ask about"
      data-over={over || undefined}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        void take(event.dataTransfer?.files[0]);
      }}
    >
      <canvas
        ref={canvas}
        width={SIDE}
        height={SIDE}
        role="img"
        aria-label="Draw here with a pointer, or choose an image file below"
        onPointerDown={begin}
        onPointerMove={stroke}
        onPointerUp={end}
        onPointerCancel={end}
      />
      <div class="buttons small">
        <label class="file">
          <input
            type="file"
            accept="image/*"
            disabled={busy}
            onChange={(event) => {
              const { files } = event.currentTarget;
              void take(files?.[0]);
              // The same file again is a change, too.
              event.currentTarget.value = '';
            }}
          />
          <span>Image file …</span>
        </label>
        <button type="button" onClick={clear}>
          Clear
        </button>
      </div>
      <p class="hint">Draw, drop an image, or choose one.</p>
    </div>
  );
}

/** What was drawn, scaled into the middle 20 x 20 of 28 x 28: as the digits of MNIST, which the demo learns, were. */
function digitOf(canvas: HTMLCanvasElement): Image {
  const { data } = open(canvas).context.getImageData(0, 0, SIDE, SIDE);
  let [left, top, right, bottom] = [SIDE, SIDE, 0, 0];
  for (let at = 0; at < SIDE * SIDE; at++) {
    if (data[4 * at]! < 64) continue;
    const [x, y] = [at % SIDE, Math.floor(at / SIDE)];
    [left, right] = [Math.min(left, x), Math.max(right, x + 1)];
    [top, bottom] = [Math.min(top, y), Math.max(bottom, y + 1)];
  }
  const longest = Math.max(right - left, bottom - top);
  const size = (longest * SENT) / 20;
  const [x, y] = [(left + right - size) / 2, (top + bottom - size) / 2];
  return pixelsOf(canvas, SENT, SENT, 1, [x, y, size, size]);
}

function open(canvas: HTMLCanvasElement): { context: CanvasRenderingContext2D } {
  return { context: canvas.getContext('2d', { willReadFrequently: true })! };
}

function pixelsOf(
  source: HTMLCanvasElement | ImageBitmap,
  width: number,
  height: number,
  channels: 1 | 3,
  from: [number, number, number, number] = [0, 0, source.width, source.height],
): Image {
  const scaled = new OffscreenCanvas(width, height).getContext('2d')!;
  scaled.imageSmoothingQuality = 'high';
  scaled.drawImage(source, ...from, 0, 0, width, height);
  const { data } = scaled.getImageData(0, 0, width, height);
  const bytes = new Uint8Array(width * height * channels);
  for (let pixel = 0; pixel < width * height; pixel++) {
    for (let channel = 0; channel < channels; channel++)
      bytes[pixel * channels + channel] = data[4 * pixel + channel]!;
  }
  return { width, height, channels, pixels: base64(bytes) };
}

function base64(bytes: Uint8Array): string {
  let text = '';
  // In pieces: an argument list has a limit.
  for (let at = 0; at < bytes.length; at += 8192)
    text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}
