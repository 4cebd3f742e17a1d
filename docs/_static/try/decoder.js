// The decoder in plain JavaScript: z-points to images, from weights that aelib/webexport.py wrote.
//
// All of it is one function, because a page that was opened from the file system may not start a worker from a second
// file: the page makes one from this function's text instead. Nothing in it may refer to what is outside.

"use strict";

function faceDecoder() {
  // A square of 4 pixels by 4 channels is computed at a time. Its 16 sums stay in registers, and each number that is
  // read serves 4 products: reading costs more than multiplying.
  const TILE = 4;
  const SELU_SCALE = 1.0507009873554805;
  const SELU_ALPHA = 1.6732632423543772;

  const ACTIVATIONS = {
    linear: (x) => x,
    relu: (x) => (x > 0 ? x : 0),
    leaky_relu: (x) => (x > 0 ? x : 0.2 * x),
    elu: (x) => (x > 0 ? x : Math.expm1(x)),
    selu: (x) => SELU_SCALE * (x > 0 ? x : SELU_ALPHA * Math.expm1(x)),
    gelu: (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
    sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  };

  // Abramowitz and Stegun (1964), formula 7.1.26: to 1.5e-7.
  function erf(x) {
    const t = 1 / (1 + 0.3275911 * Math.abs(x));
    const series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
    return Math.sign(x) * (1 - series * Math.exp(-x * x));
  }

  // base64 of little-endian half-precision numbers to Float32Array. Browsers have no half precision of their own that
  // could be relied on, so each of the 65 536 bit patterns is looked up.
  function readHalves(base64) {
    const bytes = atob(base64);
    const table = halfTable();
    const numbers = new Float32Array(bytes.length >> 1);
    for (let k = 0; k < numbers.length; k++) {
      numbers[k] = table[bytes.charCodeAt(2 * k) | (bytes.charCodeAt(2 * k + 1) << 8)];
    }
    return numbers;
  }

  function halfTable() {
    const table = new Float32Array(65536);
    for (let bits = 0; bits < 65536; bits++) {
      const exponent = (bits >> 10) & 31;
      const mantissa = bits & 1023;
      const size = exponent ? 2 ** (exponent - 15) * (1 + mantissa / 1024) : 2 ** -14 * (mantissa / 1024);
      table[bits] = bits & 32768 ? -size : size;
    }
    return table;
  }

  // The arrays that `shapes` names, one after the other in one run of numbers.
  function split(numbers, shapes) {
    let start = 0;
    return shapes.map((shape) => {
      const length = shape.reduce((product, side) => product * side, 1);
      start += length;
      return numbers.subarray(start - length, start);
    });
  }

  // Layers as functions. Every one reads its input from an array of its own and returns where it has written.
  function build(network) {
    const weights = split(readHalves(network.weights), network.layers.flatMap((layer) => [layer.kernel, layer.bias]));
    const layers = network.layers.map((layer, k) => ({ ...layer, weights: weights[2 * k], offsets: weights[2 * k + 1] }));
    let grid = null;
    const steps = layers.map((layer, k) => {
      if (layer.kind === "dense") {
        return dense(layer);
      }
      grid = grid || { size: network.grid, channels: layer.kernel[3] };
      const step = transposed(layer, grid);
      grid = { size: grid.size * layer.stride, channels: layer.kernel[2] };
      return step;
    });
    return (z) => steps.reduce((values, step) => step(values), Float32Array.from(z));
  }

  function activate(values, name) {
    const function_ = ACTIVATIONS[name];
    for (let k = 0; k < values.length; k++) {
      values[k] = function_(values[k]);
    }
    return values;
  }

  // y = z W + b: W has one row per number of z.
  function dense({ weights, offsets, activation }) {
    const width = offsets.length;
    const out = new Float32Array(width);
    return (z) => {
      out.set(offsets);
      for (let row = 0; row < z.length; row++) {
        const factor = z[row];
        const start = row * width;
        for (let k = 0; k < width; k++) {
          out[k] += factor * weights[start + k];
        }
      }
      return activate(out, activation);
    };
  }

  // A transposed convolution puts the kernel, times the input pixel (y, x), at the output pixel (y s, x s). Turned
  // round: output pixels of one phase, the remainders of their row and column by the stride s, all gather from the same
  // few neighbours. So each phase is a plain convolution, and no product with a zero between the pixels is computed.
  function transposed(layer, { size, channels }) {
    const [side, , filters] = layer.kernel;
    const stride = layer.stride;
    const taps = phaseTaps(side, stride);
    const reach = taps.flat().map((tap) => tap.shift);
    const before = Math.max(0, -Math.min(0, ...reach));
    const after = Math.max(0, ...reach) + TILE - 1; // a tile may begin at the last pixel
    const rowLength = (before + size + after) * channels;
    const padded = new Float32Array(rowLength * (before + size + after));
    const blocks = Math.ceil(filters / TILE);
    const packed = packKernel(layer, blocks);
    const bias = new Float32Array(blocks * TILE);
    bias.set(layer.offsets);
    const out = new Float32Array((size * stride) ** 2 * filters);
    const shape = { size, channels, stride, filters, before, rowLength, blocks, side };

    return (values) => {
      for (let y = 0; y < size; y++) {
        const row = values.subarray(y * size * channels, (y + 1) * size * channels);
        padded.set(row, (y + before) * rowLength + before * channels);
      }
      for (let py = 0; py < stride; py++) {
        for (let px = 0; px < stride; px++) {
          convolvePhase(padded, packed, bias, out, shape, py, px, taps);
        }
      }
      return activate(out, layer.activation);
    };
  }

  // Which places of a kernel, along one direction, reach the output pixels of each phase, and from how far.
  function phaseTaps(side, stride) {
    const cut = Math.max(side - stride, 0) >> 1; // what "same" padding cuts off in front
    return Array.from({ length: stride }, (_, phase) =>
      Array.from({ length: side }, (_, place) => ({ place, shift: (phase + cut - place) / stride })).filter((tap) =>
        Number.isInteger(tap.shift)
      )
    );
  }

  // From Keras' order (row, column, filter, channel) to (row, column, block of filters, channel, filter in block).
  function packKernel({ kernel: [side, , filters, channels], weights }, blocks) {
    const packed = new Float32Array(side * side * blocks * channels * TILE);
    for (let place = 0; place < side * side; place++) {
      for (let filter = 0; filter < filters; filter++) {
        const block = Math.floor(filter / TILE);
        for (let channel = 0; channel < channels; channel++) {
          packed[((place * blocks + block) * channels + channel) * TILE + (filter % TILE)] =
            weights[(place * filters + filter) * channels + channel];
        }
      }
    }
    return packed;
  }

  function convolvePhase(input, packed, bias, out, shape, py, px, taps) {
    const { size, channels, stride, filters, before, rowLength, blocks, side } = shape;
    const pairs = taps[py].flatMap((ty) => taps[px].map((tx) => [ty, tx]));
    const from = Int32Array.from(pairs, ([ty, tx]) => ty.shift * rowLength + tx.shift * channels);
    const kernel = Int32Array.from(pairs, ([ty, tx]) => (ty.place * side + tx.place) * blocks * channels * TILE);
    const sums = new Float32Array(TILE * TILE);
    for (let block = 0; block < blocks; block++) {
      for (let y = 0; y < size; y++) {
        for (let x = 0; x < size; x += TILE) {
          const here = (y + before) * rowLength + (x + before) * channels;
          multiplyTile(input, here, from, packed, kernel, block, channels, bias, sums);
          const wide = Math.min(TILE, size - x);
          const deep = Math.min(TILE, filters - block * TILE);
          for (let i = 0; i < wide; i++) {
            const target = (((y * stride + py) * size + x + i) * stride + px) * filters + block * TILE;
            for (let j = 0; j < deep; j++) {
              out[target + j] = sums[i * TILE + j];
            }
          }
        }
      }
    }
  }

  // The sums of one tile: over the places of the kernel, and over the channels.
  function multiplyTile(input, here, from, packed, kernel, block, channels, bias, sums) {
    const b = block * TILE;
    let s00 = bias[b], s01 = bias[b + 1], s02 = bias[b + 2], s03 = bias[b + 3];
    let s10 = s00, s11 = s01, s12 = s02, s13 = s03;
    let s20 = s00, s21 = s01, s22 = s02, s23 = s03;
    let s30 = s00, s31 = s01, s32 = s02, s33 = s03;
    for (let tap = 0; tap < from.length; tap++) {
      let p = here + from[tap];
      let w = kernel[tap] + block * channels * TILE;
      for (const end = p + channels; p < end; p++, w += TILE) {
        const x0 = input[p], x1 = input[p + channels], x2 = input[p + 2 * channels], x3 = input[p + 3 * channels];
        const w0 = packed[w], w1 = packed[w + 1], w2 = packed[w + 2], w3 = packed[w + 3];
        s00 += x0 * w0; s01 += x0 * w1; s02 += x0 * w2; s03 += x0 * w3;
        s10 += x1 * w0; s11 += x1 * w1; s12 += x1 * w2; s13 += x1 * w3;
        s20 += x2 * w0; s21 += x2 * w1; s22 += x2 * w2; s23 += x2 * w3;
        s30 += x3 * w0; s31 += x3 * w1; s32 += x3 * w2; s33 += x3 * w3;
      }
    }
    sums[0] = s00; sums[1] = s01; sums[2] = s02; sums[3] = s03;
    sums[4] = s10; sums[5] = s11; sums[6] = s12; sums[7] = s13;
    sums[8] = s20; sums[9] = s21; sums[10] = s22; sums[11] = s23;
    sums[12] = s30; sums[13] = s31; sums[14] = s32; sums[15] = s33;
  }

  return { build, readHalves, split };
}

// For the tests, which run it in Node.
if (typeof module === "object") {
  module.exports = faceDecoder;
}
