/**
 * One way to write a digit, as a few poses of the same pen path.
 *
 * A path is a list of "x y" points in percent of a box (y down), separated by commas; `^` before a point makes it a corner,
 * every other point is passed smoothly; `|` lifts the pen.
 */
export interface Allograph {
  /** How often it is drawn, beside the other ways of its digit. */
  readonly weight: number;
  /** All poses have the same points in the same order. */
  readonly poses: readonly string[];
}
