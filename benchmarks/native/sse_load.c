// Closed-loop load that costs next to nothing: one epoll loop, N connections, the same request again at each end.
// sse_load PORT CONNECTIONS SECONDS WARMUP_S ITL_US BODY_FILE    prints one JSON object
// ######## in the body becomes the request's number. events: SSE events; off_us: |gap between events of a stream - ITL_US|, its end excluded. Both after the warm-up.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { TAIL = 7, ROOM = 1 << 18, BINS = 2000000 };  // bins of a microsecond
static const char END[] = "\r\n0\r\n\r\n";

typedef struct {
  int fd, fresh;
  int64_t last_ns, events, left;  // left: bytes of a body with a length; -1: chunked
  char tail[TAIL + 1];
} Stream;

static char request[1 << 16], buffer[TAIL + ROOM];
static int request_size;
static char *number;  // in `request`
static int64_t asked;
static int64_t from_ns, itl_ns, events, requests, errors, *bins, gaps;

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void die(const char *what) { perror(what); exit(1); }

static void ask(Stream *s) {
  s->fresh = 1;
  s->events = 0;
  memset(s->tail, 0, sizeof s->tail);
  if (number) {
    char digits[32];
    snprintf(digits, sizeof digits, "%08lld", (long long)(asked++ % 100000000));
    memcpy(number, digits, 8);
  }
  if (send(s->fd, request, request_size, MSG_NOSIGNAL) != request_size) die("send");
}

static void gap(int64_t ns) {
  int64_t off_us = llabs(ns - itl_ns) / 1000;
  bins[off_us < BINS ? off_us : BINS - 1]++;
  gaps++;
}

static void begin(Stream *s, char *data, ssize_t size) {
  s->fresh = 0;
  if (memcmp(data + 9, "200", 3)) { errors++; fprintf(stderr, "%.*s\n", (int)(size < 300 ? size : 300), data); exit(1); }
  char *head_end = memmem(data, size, "\r\n\r\n", 4);
  data[size] = 0;
  char *length = strcasestr(data, "content-length:");
  s->left = length && head_end && length < head_end ? atol(length + 15) + (head_end + 4 - data) : -1;
}

static void feed(Stream *s, char *data, ssize_t size, int64_t now) {
  if (s->fresh) begin(s, data, size);
  int counted = now >= from_ns, ended;
  if (s->left >= 0) {
    ended = (s->left -= size) == 0;
  } else {
    memcpy(data - TAIL, s->tail, TAIL);
    char *start = data - 1, *at, *stop = data + size;
    int64_t found = 0;
    for (at = start; (at = memmem(at, stop - at, "\n\n", 2)); at += 2) found++;
    memcpy(s->tail, stop - TAIL, TAIL);
    ended = !memcmp(s->tail, END, TAIL);
    if (counted) events += found;
    if (counted && s->events && !ended && found) {
      gap(now - s->last_ns);
      for (int64_t i = 1; i < found; i++) gap(0);
    }
    s->events += found;
    if (found) s->last_ns = now;
  }
  if (ended) {
    if (counted) requests++;
    ask(s);
  }
}

static double percentile_ms(double share) {
  int64_t seen = 0;
  for (int i = 0; i < BINS; i++)
    if ((seen += bins[i]) > share * gaps) return i / 1e3;
  return -1;
}

int main(int argc, char **argv) {
  if (argc != 7) die("usage");
  int connections = atoi(argv[2]), one = 1, epoll = epoll_create1(0);
  itl_ns = atol(argv[5]) * 1000;
  bins = calloc(BINS, sizeof *bins);
  FILE *file = fopen(argv[6], "rb");
  static char body[1 << 15];
  size_t size = file ? fread(body, 1, sizeof body, file) : 0;
  request_size = snprintf(request, sizeof request,
                          "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer load\r\n"
                          "content-type: application/json\r\ncontent-length: %zu\r\n\r\n%s", size, body);
  number = strstr(request, "########");
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  Stream *streams = calloc(connections, sizeof *streams);
  for (int i = 0; i < connections; i++) {
    Stream *s = streams + i;
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(s->fd, (void *)&address, sizeof address)) die("connect");
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};
    epoll_ctl(epoll, EPOLL_CTL_ADD, s->fd, &event);
    ask(s);
  }
  from_ns = now_ns() + (int64_t)(atof(argv[4]) * 1e9);
  int64_t until_ns = from_ns + (int64_t)(atof(argv[3]) * 1e9), now = 0;
  struct epoll_event ready[1024];
  while ((now = now_ns()) < until_ns) {
    int count = epoll_wait(epoll, ready, 1024, itl_ns ? 20 : 0);  // spins: a wake-up costs the sender more
    for (int i = 0; i < count; i++) {
      Stream *s = ready[i].data.ptr;
      ssize_t got = recv(s->fd, buffer + TAIL, ROOM - 1, MSG_DONTWAIT);
      if (got > 0) feed(s, buffer + TAIL, got, now_ns());
      else if (got == 0 || errno != EAGAIN) { fprintf(stderr, "a connection ended\n"); exit(1); }
    }
  }
  double seconds = (now - from_ns) / 1e9;
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  printf("{\"seconds\": %.4f, \"events\": %lld, \"requests\": %lld, \"events_per_s\": %.1f, \"requests_per_s\": %.1f, "
         "\"off_p50_ms\": %.3f, \"off_p99_ms\": %.3f, \"client_cpu_s\": %.3f}\n",
         seconds, (long long)events, (long long)requests, events / seconds, requests / seconds,
         gaps ? percentile_ms(0.5) : -1.0, gaps ? percentile_ms(0.99) : -1.0,
         used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
}
