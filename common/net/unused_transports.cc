// SPDX-License-Identifier: MIT
//
// Debian's libzmq can speak PGM and NORM (multicast) and GSSAPI (Kerberos), for which it needs
// eleven libraries. Capstan speaks TCP with CURVE alone (zmq_listener.cc, zmq_dialer.cc), so what
// libzmq calls of those libraries ends here, and they need not be there. Names and meaning are
// theirs (pgm/pgm.h, normApi.h, gssapi/gssapi.h); what is called by mistake stops the process.
#include <cstdlib>

#define NEVER(name)          \
  [[noreturn]] void name() { \
    std::abort();            \
  }

extern "C" {

// Every context begins and ends PGM: 1 is its true.
int pgm_init(void*) {
  return 1;
}
int pgm_shutdown() {
  return 1;
}

NEVER(pgm_bind3);
NEVER(pgm_close);
NEVER(pgm_connect);
NEVER(pgm_error_free);
NEVER(pgm_free);
NEVER(pgm_freeaddrinfo);
NEVER(pgm_getaddrinfo);
NEVER(pgm_getsockopt);
NEVER(pgm_gsi_create_from_data);
NEVER(pgm_recvmsgv);
NEVER(pgm_send);
NEVER(pgm_setsockopt);
NEVER(pgm_socket);

NEVER(NormCreateInstance);
NEVER(NormCreateSession);
NEVER(NormDestroyInstance);
NEVER(NormDestroySession);
NEVER(NormGetDescriptor);
NEVER(NormGetNextEvent);
NEVER(NormGetRandomSessionId);
NEVER(NormIsUnicastAddress);
NEVER(NormNodeDelete);
NEVER(NormObjectGetType);
NEVER(NormObjectGetUserData);
NEVER(NormObjectSetUserData);
NEVER(NormSetCongestionControl);
NEVER(NormSetDefaultSyncPolicy);
NEVER(NormSetDefaultUnicastNack);
NEVER(NormSetLoopback);
NEVER(NormSetMulticastInterface);
NEVER(NormSetRxPortReuse);
NEVER(NormSetTTL);
NEVER(NormStartReceiver);
NEVER(NormStartSender);
NEVER(NormStopInstance);
NEVER(NormStopReceiver);
NEVER(NormStopSender);
NEVER(NormStreamFlush);
NEVER(NormStreamOpen);
NEVER(NormStreamRead);
NEVER(NormStreamSeekMsgStart);
NEVER(NormStreamWrite);

NEVER(gss_accept_sec_context);
NEVER(gss_acquire_cred);
NEVER(gss_delete_sec_context);
NEVER(gss_display_name);
NEVER(gss_import_name);
NEVER(gss_init_sec_context);
NEVER(gss_release_buffer);
NEVER(gss_release_cred);
NEVER(gss_release_name);
NEVER(gss_unwrap);
NEVER(gss_wrap);

const void* GSS_C_NT_HOSTBASED_SERVICE = nullptr;
const void* GSS_C_NT_USER_NAME = nullptr;
const void* NORM_INSTANCE_INVALID = nullptr;
const void* NORM_NODE_ANY = nullptr;
const void* NORM_OBJECT_INVALID = nullptr;
const void* NORM_SESSION_INVALID = nullptr;

}  // extern "C"

#undef NEVER
