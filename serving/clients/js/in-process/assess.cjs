// Model input to an assessment: token ids, the ONNX graph, temperatures, novelty. One text at a time, since dynamic
// quantisation scales by the batch: alone, a text gets in JavaScript what it gets in Python.
"use strict";

const { InferenceSession, Tensor } = require("onnxruntime-node");

const { TextTokenizer } = require("./tokens.cjs");

/** Assesses texts with a verified bundle. */
class Assessor {
  #session; #tokenizer; #manifest; #reference;

  constructor(session, tokenizer, manifest, reference) {
    this.#session = session;
    this.#tokenizer = tokenizer;
    this.#manifest = manifest;
    this.#reference = reference;
  }

  /** Open a bundle whose files are given as buffers, its manifest parsed. */
  static async open(files, manifest, { threads = 1 } = {}) {
    const parsed = (name) => JSON.parse(files[name].toString("utf8"));
    const tokenizer = new TextTokenizer(parsed("tokenizer.json"), parsed("glosses.json"), manifest.budget);
    const session = await InferenceSession.create(files["model.onnx"], {
      executionProviders: ["cpu"],
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      logSeverityLevel: 3,
      extra: { session: { intra_op: { allow_spinning: "0" } } },
    });
    return new Assessor(session, tokenizer, manifest, readReference(files["reference.npy"]));
  }

  get version() {
    return this.#manifest.version;
  }

  /** Return calibrated probabilities per head, in label order, and the novelty of a text. */
  async assess(text) {
    const { ids, nFirst } = this.#tokenizer.encode(text);
    const outputs = await this.#session.run({
      input_ids: integers(ids),
      attention_mask: integers(ids.map(() => 1)),
      token_type_ids: integers(ids.map((_, i) => (i < nFirst ? 0 : 1))),
    });
    const { heads, temperatures, novelty } = this.#manifest;
    const assessment = {};
    for (const head of Object.keys(heads)) {
      assessment[head] = softmax(Array.from(outputs[head].data, (logit) => logit / temperatures[head]));
    }
    const share = (distance(outputs.surface.data, this.#reference) - novelty.near) / Math.max(novelty.far - novelty.near, 1e-9);
    return { ...assessment, novelty: Math.min(1, Math.max(0, share)) };
  }

  /** Free the graph. */
  async close() {
    await this.#session.release();
  }
}

function integers(values) {
  return new Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
}

function softmax(scaled) {
  const top = Math.max(...scaled);
  const weights = scaled.map((value) => Math.exp(value - top));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

/** Mahalanobis distance: the reference's first row is the mean, below it stands the whitening matrix. */
function distance(surface, { values, width }) {
  const white = new Float64Array(width);
  for (let i = 0; i < surface.length; i += 1) {
    const centred = surface[i] - values[i];
    for (let j = 0; j < width; j += 1) white[j] += centred * values[(i + 1) * width + j];
  }
  return Math.sqrt(white.reduce((total, value) => total + value * value, 0));
}

/** Read the one kind of .npy file that a bundle holds: float32, little-endian, by rows, two dimensions. */
function readReference(file) {
  const start = 10 + file.readUInt16LE(8);
  const header = file.toString("latin1", 10, start);
  const shape = /'shape': \((\d+), (\d+)\)/.exec(header);
  if (!header.includes("'<f4'") || header.includes("'fortran_order': True") || !shape) {
    throw new Error("reference.npy is no float32 matrix by rows; expected one. Pack the bundle again.");
  }
  // Copied: a view needs an offset that is a multiple of four.
  const values = new Float32Array(file.buffer.slice(file.byteOffset + start, file.byteOffset + file.length));
  return { values, width: Number(shape[2]) };
}

module.exports = { Assessor };
