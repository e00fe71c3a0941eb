// When each event of N streams came in, by the kernel's receive stamps, as CLOCK_MONOTONIC.
// stream_reader PORT STREAMS RAMP_MS BODY_FILE OUT    OUT: int64 n, then n times in ns; per stream
// One request a stream, sent over the ramp. Events that the socket hands over together share the last one's stamp.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CARRY = 16, ROOM = 1 << 16 };
static const char MARK[] = "\"content\":\"", END[] = "0\r\n\r\n";

typedef struct {
  int fd, ended, carried;
  int64_t n, room, *times;
  char carry[CARRY];
} Stream;

static int left;
static int64_t together;

static void die(const char *what) { perror(what); exit(1); }

static int64_t ns(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int64_t offset_ns(void) {  // realtime - monotonic; the tightest of a few readings
  int64_t best = 0, width = INT64_MAX;
  for (int i = 0; i < 20; i++) {
    int64_t before = ns(CLOCK_MONOTONIC), wall = ns(CLOCK_REALTIME), after = ns(CLOCK_MONOTONIC);
    if (after - before < width) { width = after - before; best = wall - (before + after) / 2; }
  }
  return best;
}

static void note(Stream *s, int64_t at_ns) {
  if (s->n == s->room) {
    s->room = s->room ? 2 * s->room : 256;
    if (!(s->times = realloc(s->times, 8 * s->room))) die("realloc");
  }
  s->times[s->n++] = at_ns;
}

static void readable(Stream *s) {
  static char buffer[CARRY + ROOM];
  memcpy(buffer, s->carry, s->carried);
  char control[128];
  struct iovec part = {buffer + s->carried, ROOM};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  ssize_t got = recvmsg(s->fd, &message, MSG_DONTWAIT);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) { fprintf(stderr, "a stream broke off\n"); exit(1); }
  int64_t at_ns = ns(CLOCK_REALTIME);
  for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
      struct timespec t;
      memcpy(&t, CMSG_DATA(c), sizeof t);
      at_ns = t.tv_sec * 1000000000LL + t.tv_nsec;
    }
  char *from = buffer, *stop = buffer + s->carried + got, *hit;
  int found = 0;
  for (; (hit = memmem(from, stop - from, MARK, sizeof MARK - 1)); from = hit + sizeof MARK - 1, found++) note(s, at_ns);
  if (found > 1) together += found - 1;
  int keep = stop - from < (int)sizeof MARK - 2 ? stop - from : (int)sizeof MARK - 2;
  memcpy(s->carry, stop - keep, s->carried = keep);
  if (stop - buffer >= 5 && !memcmp(stop - 5, END, 5)) { s->ended = 1; left--; close(s->fd); }
}

int main(int argc, char **argv) {
  if (argc != 6) { fprintf(stderr, "usage: stream_reader PORT STREAMS RAMP_MS BODY_FILE OUT\n"); return 2; }
  int count = atoi(argv[2]), one = 1, epoll = epoll_create1(0);
  int64_t ramp_ns = atol(argv[3]) * 1000000LL;
  static char body[1 << 15], request[1 << 16];
  FILE *file = fopen(argv[4], "rb"), *out = fopen(argv[5], "wb");
  if (!file || !out) die("open");
  size_t size = fread(body, 1, sizeof body, file);
  int length = snprintf(request, sizeof request,
                        "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer reader\r\n"
                        "content-type: application/json\r\ncontent-length: %zu\r\n\r\n%.*s", size, (int)size, body);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  Stream *streams = calloc(count, sizeof *streams);
  struct epoll_event ready[1024];
  for (int i = 0; i < count; i++) {
    Stream *s = streams + i;
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (s->fd < 0 || connect(s->fd, (void *)&to, sizeof to)) die("connect");
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(s->fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};
    epoll_ctl(epoll, EPOLL_CTL_ADD, s->fd, &event);
  }
  int64_t before = offset_ns(), began = ns(CLOCK_MONOTONIC);
  int sent = 0;
  for (left = count; left;) {
    int64_t now = ns(CLOCK_MONOTONIC);
    while (sent < count && now >= began + ramp_ns * sent / count)
      if (send(streams[sent++].fd, request, length, MSG_NOSIGNAL) != length) die("send");
    int n = epoll_wait(epoll, ready, 1024, sent < count ? 0 : 100);
    for (int i = 0; i < n; i++) readable(ready[i].data.ptr);
  }
  int64_t offset = (before + offset_ns()) / 2;
  for (int i = 0; i < count; i++) {
    Stream *s = streams + i;
    for (int64_t k = 0; k < s->n; k++) s->times[k] -= offset;
    fwrite(&s->n, 8, 1, out);
    fwrite(s->times, 8, s->n, out);
  }
  fclose(out);
  printf("{\"together\": %lld}\n", (long long)together);
  return 0;
}
