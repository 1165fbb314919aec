/* wide.cl - the same as matmul.cl and norm, for devices that run many items side by side: a work-group of 64 for a
 * strip of a matrix and a row of x, or for a part of a row; sums meet in local memory, in an order that depends on
 * the width alone.
 */
#define LANES 64
