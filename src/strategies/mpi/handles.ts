import type { Flavour } from './launcher.ts';

/** The constants of `mpi.h` that are used here, as numbers: two implementations share none of them. */
export interface Handles {
  readonly commWorld: number | bigint;
  readonly float: number | bigint;
  readonly double: number | bigint;
  readonly byte: number | bigint;
  readonly sum: number | bigint;
  readonly min: number | bigint;
  readonly max: number | bigint;
  readonly errorsReturn: number | bigint;
  /** `MPI_IN_PLACE`, a pointer. */
  readonly inPlace: number;
  /** `MPI_STATUS_IGNORE`, a pointer. */
  readonly statusIgnore: number;
}

/** Looks up the address of a symbol of the library. */
type AddressOf = (symbol: string) => bigint;

interface Binary {
  /** Names of the shared library, the likeliest first. */
  readonly libraries: readonly string[];
  /** What a Debian user installs for it. */
  readonly packages: string;
  /** How C passes a handle. */
  readonly handleType: 'int' | 'intptr';
  handles(addressOf: AddressOf): Handles;
}

/**
 * The two binary interfaces.
 *
 * Source: `mpi.h` of MPICH 4.0 (its ABI initiative fixes these numbers for MVAPICH, Intel and Cray MPI too) and
 * of OpenMPI 4.1, where a handle is the address of an object. The standard ABI of MPI 5, `libmpi_abi`, will
 * make this one table.
 */
export const BINARIES: Readonly<Record<Flavour, Binary>> = {
  openmpi: {
    libraries: ['libmpi.so.40', 'libmpi.so', 'libmpi.40.dylib'],
    packages: 'openmpi-bin libopenmpi3',
    handleType: 'intptr',
    handles: (addressOf) => ({
      commWorld: addressOf('ompi_mpi_comm_world'),
      float: addressOf('ompi_mpi_float'),
      double: addressOf('ompi_mpi_double'),
      byte: addressOf('ompi_mpi_byte'),
      sum: addressOf('ompi_mpi_op_sum'),
      min: addressOf('ompi_mpi_op_min'),
      max: addressOf('ompi_mpi_op_max'),
      errorsReturn: addressOf('ompi_mpi_errors_return'),
      inPlace: 1,
      statusIgnore: 0,
    }),
  },
  mpich: {
    libraries: ['libmpich.so.12', 'libmpi.so.12', 'libmpi.12.dylib'],
    packages: 'mpich libmpich12',
    handleType: 'int',
    handles: () => ({
      commWorld: 0x44000000,
      float: 0x4c00040a,
      double: 0x4c00080b,
      byte: 0x4c00010d,
      max: 0x58000001,
      min: 0x58000002,
      sum: 0x58000003,
      errorsReturn: 0x54000001,
      inPlace: -1,
      statusIgnore: 1,
    }),
  },
};
