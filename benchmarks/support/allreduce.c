/* The peer of `npm run bench -- ranks`: seconds of one all-reduce of float32 sums in place, for each size in
   MB of the command line, the median of all but the first quarter. Compiled with the mpicc of the launcher that starts it. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

int main(int argc, char **argv) {
  int rank;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  for (int each = 1; each < argc; each++) {
    int length = (int)(atof(argv[each]) * 262144);
    float *values = malloc(length * sizeof(float));
    int times = length < 16 * 262144 ? 200 : 20, warm = times / 4;
    double seconds[200];
    for (int i = 0; i < length; i++) values[i] = 1;
    for (int i = 0; i < times; i++) {
      MPI_Barrier(MPI_COMM_WORLD);
      double began = MPI_Wtime();
      MPI_Allreduce(MPI_IN_PLACE, values, length, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
      seconds[i] = MPI_Wtime() - began;
    }
    qsort(seconds + warm, times - warm, sizeof(double), by_value);
    if (rank == 0) printf("%s %.9f\n", argv[each], seconds[warm + (times - warm) / 2]);
    free(values);
  }
  MPI_Finalize();
  return 0;
}
