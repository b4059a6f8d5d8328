/** The version of Highwater, as it is written into checkpoints. */
export const VERSION = '0.1.0';
