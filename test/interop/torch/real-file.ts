import { inflateSync } from 'node:zlib';

/**
 * A small file that PyTorch 1.13 wrote: a checkpoint in Lightning's layout. In Python:
 *
 *     w = torch.arange(6.).reshape(2, 3)
 *     state = OrderedDict([('fc.weight', w.t()), ('fc.bias', torch.tensor([1, -2, 3], dtype=torch.int8)), ('tied', w)])
 *     torch.save({'epoch': 2, 'global_step': 9, 'pytorch-lightning_version': '2.2.5', 'state_dict': state,
 *                 'hyper_parameters': AttributeDict(lr=0.5, name='é')}, 'real.pt')
 */
export function realTorchFile(): Uint8Array {
  return new Uint8Array(inflateSync(Buffer.from(DEFLATED.join(''), 'base64')));
}

/** What it holds. */
export const REAL_CONTENT = {
  epoch: 2,
  globalStep: 9,
  hyperParameters: { lr: 0.5, name: 'é' },
  weights: [
    ['fc.weight', 'F32', [3, 2], [0, 3, 1, 4, 2, 5]],
    ['fc.bias', 'I8', [3], [1, -2, 3]],
    ['tied', 'F32', [2, 3], [0, 1, 2, 3, 4, 5]],
  ],
} as const;

const DEFLATED: readonly string[] = [
  'eNqVU81u00AQXttpmjoJtEDpD1D+IRHEbYM4t6QoHHwgpEKyerEcZ4ldTOxZr4t6QCqHVuIGL4C4InHlwAFx4AngCb',
  'iVC6+AmPWGkKS0gpXXY8/O933jmXHD1DKE5HLkwCqSacKoEyy2He4Y0eOgXpsiG6NrR30GpGSNIYBGoeuBYqpWHt86',
  'QdhyAjvmNALVnLDm0Bdt85C5XiXwOx7v+t2OvUVZ7Idd0FKGqlE1bkPG0vE55g6ndtt3OYy5bhgE1OUYGev3WZsy2r',
  '6LJzpky00YL1kTCHjkGk+pIIacm8oYdsL9INZtRluJH7RtTrtxyOytqg4TpZI1nqqEzOlQ0CVErwehw9elU4e8pWDM',
  'EhQsDa0bJVA0sxyOPTCJqZnqHhw3FVPbg8kXnkhkisOJJpxMiTGblu/EcMpDKe83/ZrnsD77dMq+DKe9oqlxmElZd2',
  'HWVHZhTjLOczjThLMWtohwn7bhnKTz8l7BS3NZEChVJHEeU1L24IJEXuRwqQmXE2sSod52RJkdOcx5QjlWHK64vVbY',
  '/VYYolg+isQGBsbo0e9wzvxWwqms9dXyc7hWslQkDBhcv7fyTQ5Kml0XqUEefn4L5SQxGuZ4Tvu4+WkefWI3Dp20PK',
  'n8mbTFpXqtfHDODluSYWcFb6t44d7B/WZVqM+83H81iwdiH6W+OKC+XK/d+Hf1jQ3lpyak3hnvf4gZ0Y6UKpA1KdUb',
  '+3pt5X+0/rZu6UL+y+vOQ1F6NZVXhOknMNiD4oGUhv7wUehgAfNDsE2VDLZsFDhYjmHg9yHg8ihw8EMKQ8B1jQzVrm',
  'Fmszd7ZwtapR+XGbH7PftVkxZx4v8kH3oBSuoby0pMJo2Xsb8Ah8YkOw==',
];
