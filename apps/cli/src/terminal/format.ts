/** A duration for people: `0.8 s`, `42 s`, `3 min 05 s`, `2 h 10 min`. */
export function duration(seconds: number): string {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
  const minutes = Math.round(whole / 60);
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
}

/** A number with its thousands apart, the same in every locale: `12,345`. */
export function count(value: number): string {
  return value.toLocaleString('en-US');
}

/** `1 record`, `2 records`, `2 classes`. */
export function plural(value: number, noun: string): string {
  const ending = value === 1 ? '' : noun.endsWith('s') ? 'es' : 's';
  return `${count(value)} ${noun}${ending}`;
}

/** The beginning of a digest: enough to tell two apart by eye. */
export function short(digest: string): string {
  return digest.slice(0, 12);
}

export function percent(share: number, digits = 2): string {
  return `${(share * 100).toFixed(digits)} %`;
}

/** Bytes for people, in powers of 1024: `128 MiB`. */
export function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length - 1, value < 1 ? 0 : Math.floor(Math.log2(value) / 10));
  const scaled = value / 1024 ** power;
  return `${scaled < 10 && power > 0 ? scaled.toFixed(1) : Math.round(scaled)} ${units[power]}`;
}
