// The floor: N streams kept open by one epoll loop that stamps in user space and parses nothing but events.
// raw_client PORT STREAMS SECONDS TOKENS ITL_US OUT [CPU]    OUT: int64 id, sent_ns, n, n times; per request
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { CARRY = 32, ROOM = 65536 };
static const char MARK[] = "\"delta\":{\"content\"", END[] = "0\r\n\r\n";

typedef struct {
  int fd, carried, ended;
  int64_t id, sent_ns, n, *times;
  char carry[CARRY];
} Stream;

static int port, tokens, itl_us, stopped, open_streams;
static int64_t next_id;
static FILE *out;

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void die(const char *what) {
  perror(what);
  exit(1);
}

static void ask(Stream *s) {
  char body[256], request[512];
  s->id = next_id++;
  s->n = s->carried = s->ended = 0;
  int length = snprintf(body, sizeof body,
                        "{\"model\":\"reference\",\"stream\":true,\"max_tokens\":%d,\"itl_us\":%d,\"user\":\"%lld\"}",
                        tokens, itl_us, (long long)s->id);
  int size = snprintf(request, sizeof request,
                      "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
                      "content-length: %d\r\n\r\n%s", length, body);
  s->sent_ns = now_ns();
  if (send(s->fd, request, size, MSG_NOSIGNAL) != size) die("send");
}

static void finished(Stream *s) {
  int64_t head[3] = {s->id, s->sent_ns, s->n};
  fwrite(head, 8, 3, out);
  fwrite(s->times, 8, s->n, out);
  if (!stopped) ask(s);
  else open_streams--;
}

static void readable(Stream *s) {
  char buffer[CARRY + ROOM + 1];
  memcpy(buffer, s->carry, s->carried);
  ssize_t got = recv(s->fd, buffer + s->carried, ROOM, 0);
  int64_t at_ns = now_ns();
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) die("recv");
  char *stop = buffer + s->carried + got, *from = buffer, *hit;
  while ((hit = memmem(from, stop - from, MARK, sizeof MARK - 1))) {
    if (s->n < tokens) s->times[s->n++] = at_ns;
    from = hit + sizeof MARK - 1;
  }
  int whole = stop - buffer >= 5 && !memcmp(stop - 5, END, 5);
  int keep = stop - from < (int)sizeof MARK - 2 ? stop - from : (int)sizeof MARK - 2;
  memcpy(s->carry, stop - keep, keep);
  s->carried = keep;
  if (whole && s->n == tokens) finished(s);
}

static void turn(int epoll, struct epoll_event *events, int64_t wait_ns) {
  if (wait_ns < 0) wait_ns = 0;
  struct timespec wait = {.tv_sec = wait_ns / 1000000000, .tv_nsec = wait_ns % 1000000000};
  int n = epoll_pwait2(epoll, events, 512, &wait, NULL);
  for (int i = 0; i < n; i++) readable(events[i].data.ptr);
}

int main(int argc, char **argv) {
  if (argc < 7) return 2;
  port = atoi(argv[1]);
  int streams = atoi(argv[2]);
  double seconds = atof(argv[3]);
  tokens = atoi(argv[4]);
  itl_us = atoi(argv[5]);
  if (!(out = fopen(argv[6], "wb"))) die("open");
  if (argc > 7) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(atoi(argv[7]), &set);
    sched_setaffinity(0, sizeof set, &set);
  }
  int epoll = epoll_create1(0), one = 1;
  struct epoll_event *events = calloc(512, sizeof *events);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  double ramp_s = (double)tokens * itl_us / 1e6;  // the length of an answer: they end as evenly as they begin
  int64_t began = now_ns();
  for (int i = 0; i < streams; i++) {
    Stream *s = calloc(1, sizeof *s);
    s->times = calloc(tokens, 8);
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&to, sizeof to)) die("connect");
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};
    epoll_ctl(epoll, EPOLL_CTL_ADD, s->fd, &event);
    open_streams++;
    ask(s);
    int64_t due = began + (int64_t)(ramp_s * 1e9 * (i + 1) / streams);
    while (now_ns() < due) turn(epoll, events, due - now_ns());
  }
  int64_t until = now_ns() + (int64_t)(seconds * 1e9);
  while (open_streams) {
    turn(epoll, events, 10000000);
    if (now_ns() >= until) stopped = 1;
  }
  fclose(out);
  return 0;
}
