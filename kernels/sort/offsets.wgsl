// Second of three launches of a sorting pass (see sort/count): turns the counts into where each block puts its first position
// of each digit. One workgroup, an invocation a digit.

const DIGITS: u32 = 256u;

struct Params { blocks: u32, pad0: u32, pad1: u32, pad2: u32 }

@group(0) @binding(0) var<storage, read_write> counts: array<u32>; // [blocks, DIGITS]
@group(0) @binding(1) var<uniform> params: Params;

var<workgroup> totals: array<u32, DIGITS>;

@compute @workgroup_size(DIGITS)
fn main(@builtin(local_invocation_index) digit: u32) {
  var total = 0u;
  for (var block = 0u; block < params.blocks; block++) {
    total += counts[block * DIGITS + digit];
  }
  totals[digit] = total;
  workgroupBarrier();
  var at = 0u;
  for (var smaller = 0u; smaller < digit; smaller++) {
    at += totals[smaller];
  }
  for (var block = 0u; block < params.blocks; block++) {
    let own = counts[block * DIGITS + digit];
    counts[block * DIGITS + digit] = at;
    at += own;
  }
}
