// The floor of pacing: one timerfd on an absolute schedule, one connected socket, one send an arrival.
// timerfd_pacer PORT DUE OUT [CPU]    DUE: int64 ns since the start; OUT: int64 due_ns, sent_ns; per arrival
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  if (argc > 4) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(atoi(argv[4]), &set);
    sched_setaffinity(0, sizeof set, &set);
  }
  FILE *in = fopen(argv[2], "rb"), *out = fopen(argv[3], "wb");
  if (!in || !out) return 1;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int sock = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  if (connect(sock, (struct sockaddr *)&to, sizeof to)) return 1;
  setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  int timer = timerfd_create(CLOCK_MONOTONIC, 0);
  int64_t start = now_ns() + 300000000, offset;
  uint64_t fired;
  while (fread(&offset, 8, 1, in) == 1) {
    int64_t due = start + offset;
    if (due > now_ns()) {
      struct itimerspec at = {.it_value = {due / 1000000000, due % 1000000000}};
      timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
      if (read(timer, &fired, 8) != 8) return 1;
    }
    int64_t row[2] = {due, now_ns()};
    if (send(sock, "x", 1, MSG_NOSIGNAL) != 1) return 1;
    fwrite(row, 8, 2, out);
  }
  fclose(out);
  return 0;
}
