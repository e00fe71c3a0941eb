// The floor of a server: one epoll loop, one timer a step, a chunk encoded beforehand for every open stream.
// sse_server STEP_US    STEP_US 0: a step after each look at the sockets. Prints its port and, of CLOCK_MONOTONIC,
// its first step; ends with its parent.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 16384 };

typedef struct {
  int fd, size, place, tokens, sent;  // place: in `open`, -1 where idle
  char in[ROOM + 1];
} Connection;

static Connection *open_[65536];
static int opened, epoll;
static char chunk[512], last[600], whole[1024];
static const char HEAD[] = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

static void out(Connection *c, const char *data, size_t size) {
  ssize_t sent = send(c->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent != (ssize_t)size && (sent >= 0 || errno == EAGAIN)) { fprintf(stderr, "the client does not read\n"); exit(1); }
}

static void leave(Connection *c) {
  if (c->place < 0) return;
  open_[c->place] = open_[--opened];
  open_[c->place]->place = c->place;
  c->place = -1;
}

static void step(void) {
  for (int i = opened - 1; i >= 0; i--) {
    Connection *c = open_[i];
    if (!c->sent) out(c, HEAD, sizeof HEAD - 1);
    if (++c->sent < c->tokens) { out(c, chunk, strlen(chunk)); continue; }
    out(c, last, strlen(last));
    leave(c);
  }
}

static void answer(Connection *c) {
  char *head_end = strstr(c->in, "\r\n\r\n"), *length = strcasestr(c->in, "content-length:");
  if (!head_end || !length || c->size < head_end + 4 - c->in + atol(length + 15)) return;
  char *tokens = strstr(head_end, "\"max_completion_tokens\":");
  c->tokens = tokens ? atoi(tokens + 24) : 16;
  c->sent = c->size = 0;
  if (!strstr(head_end, "\"stream\":true")) { out(c, whole, strlen(whole)); return; }
  c->place = opened;
  open_[opened++] = c;
}

static void accept_all(int listener) {
  int fd, one = 1;
  while ((fd = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    Connection *c = calloc(1, sizeof *c);
    c->fd = fd;
    c->place = -1;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  }
}

static void read_from(Connection *c) {
  ssize_t got = recv(c->fd, c->in + c->size, ROOM - c->size, MSG_DONTWAIT);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) { leave(c); close(c->fd); free(c); return; }
  c->size += got;
  c->in[c->size] = 0;
  answer(c);
}

static void build(void) {
  char event[384];
  const char *edges = "{\"id\":\"01234567-0123-0123-0123-0123456789ab\",\"object\":\"chat.completion.chunk\",\"created\":1764000000,"
                      "\"model\":\"grok-4.3\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" there\"}}],"
                      "\"system_fingerprint\":\"fp_0123456789abcdef\",\"service_tier\":\"default\"}";
  int size = snprintf(event, sizeof event, "data: %s\n\n", edges);
  snprintf(chunk, sizeof chunk, "%x\r\n%s\r\n", size, event);
  snprintf(last, sizeof last, "%se\r\ndata: [DONE]\n\n\r\n0\r\n\r\n", chunk);
  snprintf(whole, sizeof whole, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s", strlen(edges), edges);
}

int main(int argc, char **argv) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  build();
  long step_us = argc > 1 ? atol(argv[1]) : 0;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  if (bind(listener, (void *)&address, size) || listen(listener, 8192)) { perror("listen"); return 1; }
  getsockname(listener, (void *)&address, &size);
  printf("listening on http://127.0.0.1:%d\n", ntohs(address.sin_port));
  fflush(stdout);
  epoll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listener};
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  event.data.ptr = &timer;
  epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &event);
  struct timespec period = {step_us / 1000000, step_us % 1000000 * 1000}, first;
  clock_gettime(CLOCK_MONOTONIC, &first);
  first.tv_sec++;
  struct itimerspec every = {.it_interval = period, .it_value = first};
  if (step_us) timerfd_settime(timer, TFD_TIMER_ABSTIME, &every, 0);
  printf("first step at %lld ns\n", first.tv_sec * 1000000000LL + first.tv_nsec);
  fflush(stdout);
  struct epoll_event ready[1024];
  for (;;) {
    int count = epoll_wait(epoll, ready, 1024, !step_us && opened ? 0 : -1);
    uint64_t due = 0;
    for (int i = 0; i < count; i++) {
      if (ready[i].data.ptr == &listener) accept_all(listener);
      else if (ready[i].data.ptr == &timer) { if (read(timer, &due, 8) != 8) due = 0; }
      else read_from(ready[i].data.ptr);
    }
    if (!step_us) step();
    for (; due > 0; due--) step();
  }
}
