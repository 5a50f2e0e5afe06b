// What quantised/half lacks: f16 read and written one by one, by adapters with `shader-f16`. The bits are moved, not converted:
// how a conversion rounds, and what becomes of subnormals, is the adapter's own affair.
enable f16;

fn from_f16(value: f16) -> f32 {
  return unpack2x16float(bitcast<u32>(vec2<f16>(value, 0.0h))).x;
}

/** The f16 of these bits. */
fn f16_of(bits: u32) -> f16 {
  return bitcast<vec2<f16>>(bits).x;
}
