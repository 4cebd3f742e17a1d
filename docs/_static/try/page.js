// The page "Try it": sliders, draws and walks ask for z-points, the decoder answers, a canvas shows the picture.
// `LATENT_FACES` is set by network.js, which aelib/webexport.py writes; `faceDecoder` is in decoder.js.

"use strict";

(() => {
  const network = self.LATENT_FACES;
  const cloud = readCloud(network.cloud);
  const decoder = startDecoder(network);
  const queue = startQueue(decoder);
  const element = (id) => document.getElementById(id);

  // The decoder

  // In a worker the page stays quick while faces are computed. A worker may not be started from a file where the page
  // itself is one; from the decoder's own text it may.
  function startDecoder(content) {
    const waiting = new Map();
    let number = 0;
    let send;
    try {
      const text = `(${serve})((${faceDecoder})(), self)`;
      const worker = new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
      worker.onmessage = (event) => answer(event.data);
      worker.onerror = () => moveHere();
      send = (message) => worker.postMessage(message);
      send({ network: content });
    } catch {
      moveHere();
    }

    // Without workers the page decodes itself, and what was asked is asked again.
    function moveHere() {
      const here = { postMessage: answer };
      serve(faceDecoder(), here);
      send = (message) => setTimeout(() => here.onmessage({ data: message }));
      send({ network: content });
      for (const [id, { z }] of waiting) {
        send({ id, z });
      }
    }

    function answer({ id, image, milliseconds }) {
      const asked = waiting.get(id);
      waiting.delete(id);
      asked?.resolve({ image, milliseconds });
    }

    return (z) =>
      new Promise((resolve) => {
        waiting.set(++number, { z, resolve });
        send({ id: number, z });
      });
  }

  // What runs in the worker.
  function serve(tools, port) {
    let decode = null;
    port.onmessage = ({ data }) => {
      if (data.network) {
        decode = tools.build(data.network);
        return;
      }
      const start = performance.now();
      const image = decode(data.z).slice();
      port.postMessage({ id: data.id, image, milliseconds: performance.now() - start }, [image.buffer]);
    };
  }

  // One picture is computed at a time. While it is, only the newest wish for each canvas is kept: a slider that moves
  // faster than the decoder skips places, but never lags. Small pictures wait until nobody wants a large one.
  function startQueue(decode) {
    const wanted = new Map();
    const later = new Map();
    const seconds = [];
    let busy = false;

    async function work() {
      busy = true;
      while (wanted.size + later.size) {
        const from = wanted.size ? wanted : later;
        const [canvas, z] = from.entries().next().value;
        from.delete(canvas);
        const { image, milliseconds } = await decode(z);
        paint(canvas, image);
        seconds.push(milliseconds);
        showSpeed(seconds);
      }
      busy = false;
    }

    return (canvas, z, { wait = false } = {}) => {
      (wait ? later : wanted).set(canvas, z);
      if (!busy) {
        work();
      }
    };
  }

  function paint(canvas, image) {
    const pixels = new Uint8ClampedArray((image.length / 3) * 4).fill(255);
    for (let k = 0, p = 0; k < image.length; k += 3, p += 4) {
      pixels[p] = 255 * image[k]; // it rounds by itself
      pixels[p + 1] = 255 * image[k + 1];
      pixels[p + 2] = 255 * image[k + 2];
    }
    canvas.getContext("2d").putImageData(new ImageData(pixels, canvas.width, canvas.height), 0, 0);
    canvas.dispatchEvent(new CustomEvent("painted"));
  }

  function showSpeed(milliseconds) {
    const last = milliseconds.slice(-15).sort((a, b) => a - b);
    const text = `On your machine a face takes ${Math.max(1, Math.round(last[last.length >> 1]))} milliseconds.`;
    if (milliseconds.length % 5 === 0 && element("try-speed").textContent !== text) {
      element("try-speed").textContent = text;
    }
  }

  // The cloud

  // A point is kept as u, its coordinates along the principal axes in standard deviations.
  function readCloud({ arrays, numbers, levels, box }) {
    const tools = faceDecoder();
    const named = Object.keys(arrays);
    const parts = tools.split(tools.readHalves(numbers), Object.values(arrays));
    const read = Object.fromEntries(named.map((name, k) => [name, parts[k]]));
    const k = read.sigma.length;
    const faces = Array.from({ length: arrays.faces[0] }, (_, i) => read.faces.subarray(i * k, (i + 1) * k));
    return { ...read, faces, levels, box, k, d: read.mean.length };
  }

  // z = mean + sum of u_k sigma_k a_k
  function toPoint(u) {
    const z = Float32Array.from(cloud.mean);
    for (let k = 0; k < cloud.k; k++) {
      const step = u[k] * cloud.sigma[k];
      for (let j = 0; j < cloud.d; j++) {
        z[j] += step * cloud.axes[k * cloud.d + j];
      }
    }
    return z;
  }

  // u_k = a_k (z - mean) / sigma_k
  function toUnits(z) {
    return Float32Array.from(cloud.sigma, (sigma, k) => {
      let along = 0;
      for (let j = 0; j < cloud.d; j++) {
        along += cloud.axes[k * cloud.d + j] * (z[j] - cloud.mean[j]);
      }
      return along / Math.max(sigma, 1e-7);
    });
  }

  function normal() {
    return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random()); // Box and Muller (1958)
  }

  function drawFromLaw() {
    let rest = Math.random() * cloud.weights.reduce((sum, weight) => sum + weight);
    let c = 0;
    while (c < cloud.weights.length - 1 && rest > cloud.weights[c]) {
      rest -= cloud.weights[c++];
    }
    const at = (k) => c * cloud.k + k;
    return Float32Array.from({ length: cloud.k }, (_, k) => cloud.centres[at(k)] + cloud.deviations[at(k)] * normal());
  }

  // Distances

  const farthest = 1.6 * cloud.levels[2]; // right end of the scale

  function distance(u) {
    return Math.sqrt(u.reduce((sum, x) => sum + x * x, 0));
  }

  function verdict(far) {
    const [near, middle, out] = cloud.levels;
    if (far < near) {
      return "from the centre: nearer than 95 of 100 faces.";
    }
    if (far <= out) {
      return "from the centre: as far out as faces are.";
    }
    return far <= 1.5 * out
      ? "from the centre: farther out than 95 of 100 faces."
      : `from the centre: ${(far / middle).toFixed(1)} times as far out as faces are.`;
  }

  const spoken = new Map();

  function showDistance(id, u) {
    const far = distance(u);
    const box = element(`${id}-distance`);
    const number = far < 1000 ? `${far.toFixed(1)} σ` : "over 1000 σ";
    box.querySelector(".try-mark").style.left = `${(100 * Math.min(far, farthest)) / farthest}%`;
    box.querySelector("strong").textContent = number;
    box.querySelector("strong + span").textContent = verdict(far);
    // A reader's voice would never end if it told every place that a slider passes.
    clearTimeout(spoken.get(id));
    const tell = () => (box.querySelector("[role=status]").textContent = `${number} ${verdict(far)}`);
    spoken.set(id, setTimeout(tell, 600));
  }

  function show(id, u) {
    showDistance(id, u);
    queue(element(`${id}-face`), toPoint(u));
  }

  // Turn the axes

  function startAxes() {
    const sliders = [...element("axes").querySelectorAll("input")];
    let u = new Float32Array(cloud.k);

    function write() {
      sliders.forEach((slider, k) => {
        slider.value = u[k];
        label(slider);
      });
      show("axes", u);
    }
    function label(slider) {
      const text = `${Number(slider.value).toFixed(1).replace("-", "−")} σ`;
      slider.parentElement.querySelector("output").textContent = text;
      slider.setAttribute("aria-valuetext", text);
    }
    sliders.forEach((slider, k) => {
      slider.addEventListener("input", () => {
        u[k] = slider.valueAsNumber;
        label(slider);
        show("axes", u);
      });
      slider.parentElement.querySelectorAll("canvas").forEach((canvas, side) => {
        const end = new Float32Array(cloud.k);
        end[k] = side ? 3 : -3;
        queue(canvas, toPoint(end), { wait: true });
      });
    });
    element("axes-average").addEventListener("click", () => {
      u = new Float32Array(cloud.k);
      write();
    });
    element("axes-random").addEventListener("click", () => {
      u = drawFromLaw();
      for (let k = 0; k < sliders.length; k++) {
        u[k] = Math.min(3, Math.max(-3, u[k])); // the sliders' ends
      }
      write();
    });
    write();
  }

  // Draw a face at random

  function startDraws() {
    const side = element("box-side");
    let unit = null; // uniform in [-1, 1]: a larger box stretches the same vector

    function showBox() {
      side.parentElement.querySelector("output").textContent = side.valueAsNumber.toFixed(1);
      const z = unit.map((x) => x * side.valueAsNumber);
      showDistance("box", toUnits(z));
      queue(element("box-face"), z);
    }
    function draw() {
      show("law", drawFromLaw());
      unit = Float32Array.from({ length: cloud.d }, () => 2 * Math.random() - 1);
      showBox();
    }
    element("draw").addEventListener("click", draw);
    side.addEventListener("input", showBox);
    draw();
  }

  // Walk between two faces

  function startWalk() {
    const way = element("walk-share");
    const play = element("walk-play");
    const rows = ["from", "to"].map((end) => [...element(`walk-${end}`).querySelectorAll("input")]);
    let playing = 0;

    function step() {
      const t = way.valueAsNumber / 100;
      const [start, end] = rows.map((row) => cloud.faces[row.findIndex((choice) => choice.checked)]);
      const text = `${Math.round(100 * t)} %`;
      way.parentElement.querySelector("output").textContent = text;
      way.setAttribute("aria-valuetext", text);
      show("walk", start.map((x, k) => (1 - t) * x + t * end[k]));
    }
    function stop() {
      cancelAnimationFrame(playing);
      playing = 0;
      play.textContent = "Walk";
    }
    function go() {
      const first = way.valueAsNumber >= 100 ? 0 : way.valueAsNumber;
      let begun = null;
      play.textContent = "Stop";
      playing = requestAnimationFrame(function frame(now) {
        begun = begun ?? now;
        way.value = Math.min(100, first + (now - begun) / 40); // four seconds for the whole way
        step();
        if (way.valueAsNumber < 100) {
          playing = requestAnimationFrame(frame);
        } else {
          stop();
        }
      });
    }
    play.addEventListener("click", () => (playing ? stop() : go()));
    way.addEventListener("input", () => {
      stop();
      step();
    });
    rows.flat().forEach((choice) => {
      choice.addEventListener("change", step);
      queue(choice.parentElement.querySelector("canvas"), toPoint(cloud.faces[choice.value]), { wait: true });
    });
    step();
  }

  function startScales() {
    const [near, , out] = cloud.levels;
    document.querySelectorAll(".try-band").forEach((band) => {
      band.style.left = `${(100 * near) / farthest}%`;
      band.style.width = `${(100 * (out - near)) / farthest}%`;
    });
  }

  startScales();
  startAxes();
  startDraws();
  startWalk();

  // For the tests, and for those who like to ask in the browser's console.
  self.latentFaces = { cloud, decode: async (z) => (await decoder(z)).image };
})();
