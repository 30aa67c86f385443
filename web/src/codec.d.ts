/** OpenJPEG's package has no types of its own. */

declare module '@cornerstonejs/codec-openjpeg/decodewasmjs' {
  export default function makeModule(options: {
    locateFile?: (name: string) => string;
    wasmBinary?: Uint8Array;
    print?: (line: string) => void;
  }): Promise<import('./jpeg-2000-decoder.js').Codec>;
}

declare module '@cornerstonejs/codec-openjpeg/decodewasm?url' {
  const address: string;
  export default address;
}
