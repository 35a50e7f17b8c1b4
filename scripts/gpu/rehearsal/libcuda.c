/* A CUDA driver without a GPU, for scripts/gpu/rehearse.sh: it looks like an H100, keeps its "device memory" in the host's
   and runs no kernel. What it is good for: everything before the launch is real - finding NVRTC and its headers, and
   compiling every kernel for sm_90a. Numbers that come back are what was last copied there, zeros at first; a read of
   one f32 or bf16 gives 3, because opening a device adds 1 + 1 + 1 on it.

     cc -shared -fPIC -o libcuda.so.1 libcuda.c */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef unsigned long long ptr;

int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int *v) { char *s = getenv("STUB_CUDA_VERSION"); *v = s ? atoi(s) : 13000; return 0; }
int cuDeviceGetCount(int *n) { *n = 1; return 0; }
int cuDeviceGet(int *d, int i) { *d = i; return i == 0 ? 0 : 101; }
int cuDeviceGetName(char *b, int n, int d) { snprintf(b, n, "NVIDIA H100 (rehearsal)"); return 0; }
int cuDeviceGetPCIBusId(char *b, int n, int d) { snprintf(b, n, "0000:01:00.0"); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int d) { *bytes = 80ull << 30; return 0; }
int cuDeviceGetAttribute(int *v, int attribute, int d) {
  switch (attribute) {
    case 1: *v = 1024; break;        /* threads per block */
    case 2: case 3: *v = 1024; break;/* block x, y */
    case 4: *v = 64; break;          /* block z */
    case 5: *v = 2147483647; break;  /* grid x */
    case 6: case 7: *v = 65535; break;
    case 10: *v = 32; break;         /* warp */
    case 16: *v = 132; break;        /* multiprocessors */
    case 75: *v = 9; break;          /* compute capability */
    case 76: *v = 0; break;
    case 97: *v = 232448; break;     /* shared memory per block, opt-in */
    case 115: *v = 1; break;         /* memory pools */
    default: *v = 0;
  }
  return 0;
}
int cuDevicePrimaryCtxRetain(void **c, int d) { *c = (void *)0x10; return 0; }
int cuDevicePrimaryCtxRelease_v2(int d) { return 0; }
int cuCtxSetCurrent(void *c) { return 0; }
int cuCtxGetCurrent(void **c) { *c = (void *)0x10; return 0; }
int cuCtxSynchronize(void) { return 0; }
int cuCtxGetStreamPriorityRange(int *low, int *high) { *low = 0; *high = -5; return 0; }
int cuStreamCreate(void **s, unsigned f) { *s = malloc(1); return 0; }
int cuStreamCreateWithPriority(void **s, unsigned f, int p) { *s = malloc(1); return 0; }
int cuStreamDestroy_v2(void *s) { return 0; }
int cuStreamSynchronize(void *s) { return 0; }
int cuStreamQuery(void *s) { return 0; }
int cuStreamWaitEvent(void *s, void *e, unsigned f) { return 0; }
int cuStreamIsCapturing(void *s, int *status) { *status = 0; return 0; }
int cuEventCreate(void **e, unsigned f) { *e = malloc(1); return 0; }
int cuEventDestroy_v2(void *e) { free(e); return 0; }
int cuEventRecord(void *e, void *s) { return 0; }
int cuEventSynchronize(void *e) { return 0; }
int cuEventQuery(void *e) { return 0; }
/* As long as the throughput probes of cubecl want a sample to be; less, and they launch more and more. */
int cuEventElapsedTime_v2(float *ms, void *a, void *b) { *ms = 25.0f; return 0; }
static int reserve(ptr *p, size_t n) {
  void *m = mmap(NULL, n + 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (m == MAP_FAILED) return 2;
  *(size_t *)m = n + 8192;
  *p = (ptr)m + 4096;
  return 0;
}
static int release(ptr p) { void *m = (void *)(p - 4096); return munmap(m, *(size_t *)m) ? 1 : 0; }
int cuMemAlloc_v2(ptr *p, size_t n) { return reserve(p, n); }
int cuMemAllocAsync(ptr *p, size_t n, void *s) { return reserve(p, n); }
int cuMemFree_v2(ptr p) { return release(p); }
int cuMemFreeAsync(ptr p, void *s) { return release(p); }
int cuMemAllocHost_v2(void **p, size_t n) { *p = malloc(n ? n : 1); return 0; }
int cuMemFreeHost(void *p) { free(p); return 0; }
int cuMemGetInfo_v2(size_t *f, size_t *t) { *f = *t = 80ull << 30; return 0; }
int cuMemcpyHtoDAsync_v2(ptr to, const void *from, size_t n, void *s) { memcpy((void *)to, from, n); return 0; }
int cuMemcpyDtoDAsync_v2(ptr to, ptr from, size_t n, void *s) { memmove((void *)to, (void *)from, n); return 0; }
static void give(void *to, const void *from, size_t n) {
  float three = 3.0f;
  unsigned short three_bf16 = 0x4040;
  if (n == 4) memcpy(to, &three, 4);
  else if (n == 2) memcpy(to, &three_bf16, 2);
  else memcpy(to, from, n);
}
int cuMemcpyDtoHAsync_v2(void *to, ptr from, size_t n, void *s) { give(to, (void *)from, n); return 0; }
/* CUDA_MEMCPY2D_v2 */
struct copy {
  size_t sx, sy; int st; const void *sh; ptr sd; void *sa; size_t sp;
  size_t dx, dy; int dt; void *dh; ptr dd; void *da; size_t dp;
  size_t width, height;
};
int cuMemcpy2DAsync_v2(const struct copy *c, void *s) {
  const char *from = c->st == 1 ? c->sh : (const char *)c->sd;
  char *to = c->dt == 1 ? c->dh : (char *)c->dd;
  for (size_t y = 0; y < c->height; y++)
    give(to + (c->dy + y) * c->dp + c->dx, from + (c->sy + y) * c->sp + c->sx, c->width);
  return 0;
}
int cuMemsetD8Async(ptr p, unsigned char v, size_t n, void *s) { memset((void *)p, v, n); return 0; }
int cuModuleLoadData(void **m, const void *ptx) { *m = malloc(1); return 0; }
int cuModuleUnload(void *m) { return 0; }
int cuModuleGetFunction(void **f, void *m, const char *name) { *f = malloc(1); return 0; }
int cuFuncSetAttribute(void *f, int a, int v) { return 0; }
int cuFuncGetAttribute(int *v, int a, void *f) { *v = 1024; return 0; }
int cuLaunchKernel(void *f, unsigned a, unsigned b, unsigned c, unsigned d, unsigned e, unsigned g, unsigned s, void *st, void **p, void **x) { return 0; }
int cuLaunchKernelEx(const void *c, void *f, void **p, void **x) { return 0; }
int cuTensorMapEncodeTiled(void *m, int t, unsigned r, void *a, const void *d, const void *s, const void *b, const void *e, int i, int w, int p, int o) { memset(m, 0, 128); return 0; }
int cuTensorMapEncodeIm2col(void *m) { return 0; }
/* NVRTC asks for a table of the driver and calls what is in it; without one it compiles alone. */
int cuGetExportTable(const void **table, const void *id) { *table = NULL; return 500; }
int cuGetErrorName(int e, const char **s) { *s = "CUDA_ERROR"; return 0; }
int cuGetErrorString(int e, const char **s) { *s = "an error of the rehearsal"; return 0; }
