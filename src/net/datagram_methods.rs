//! The methods that UDP and Unix datagram sockets have in common; see [`methods`](super::methods) for why it is a macro.
//!
//! A datagram moves whole or not at all, so nothing is concluded from a short one, and an empty one is a message like any other.

macro_rules! datagram_methods {
    ($Socket:ident, $Address:ty, $setup:literal) => {
        impl $Socket {
            $crate::net::methods::readiness_methods!(
                $setup,
                "    match b.try_recv(&mut buffer) {",
                "a.send(b\"hello\").await?;"
            );

            /// Sends `buf` as one datagram to the connected peer, waiting for room if need be. Any number of tasks may send at once.
            ///
            /// # Errors
            ///
            /// `ConnectionRefused` when an earlier datagram met nobody; an error when the socket is not connected or the datagram is too
            /// big; [`NoRuntime`](crate::NoRuntime) inside the error when it has to wait outside a runtime.
            ///
            /// # Cancel safety
            ///
            /// A dropped future that was not ready has sent nothing.
            pub async fn send(&self, buf: &[u8]) -> std::io::Result<usize> {
                self.source.io($crate::net::source::Direction::Write, |io| io.send(buf)).await
            }

            /// [`send`](Self::send) for hand-written futures. The last task that polled for sending, and it alone, is woken.
            ///
            /// # Errors
            ///
            /// As [`send`](Self::send).
            pub fn poll_send(
                &self,
                cx: &mut std::task::Context<'_>,
                buf: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.source.poll_io(cx, $crate::net::source::Direction::Write, |io| io.send(buf))
            }

            /// [`send`](Self::send) without waiting.
            ///
            /// # Errors
            ///
            /// [`WouldBlock`](std::io::ErrorKind::WouldBlock) when there is no room; else as [`send`](Self::send).
            pub fn try_send(&self, buf: &[u8]) -> std::io::Result<usize> {
                self.source.try_io($crate::net::source::Direction::Write, |io| io.send(buf))
            }

            /// The next datagram from the connected peer, or from anybody if the socket is not connected. What does not fit into `buf` is
            /// lost. Any number of tasks may wait; each datagram goes to one of them.
            ///
            /// # Errors
            ///
            /// `ConnectionRefused` when an earlier datagram met nobody; else the system's; [`NoRuntime`](crate::NoRuntime) inside the error
            /// when it has to wait outside a runtime.
            ///
            /// # Cancel safety
            ///
            /// A dropped future that was not ready has taken no datagram.
            ///
            /// ```
            /// # fn main() -> std::io::Result<()> { eddies::run(async {
            #[doc = $setup]
            /// a.send(b"hello").await?;
            /// let mut buffer = [0; 64];
            /// let read = b.recv(&mut buffer).await?;
            /// assert_eq!(&buffer[..read], b"hello");
            /// # Ok(()) }) }
            /// ```
            pub async fn recv(&self, buf: &mut [u8]) -> std::io::Result<usize> {
                self.source.io($crate::net::source::Direction::Read, |io| io.recv(buf)).await
            }

            /// [`recv`](Self::recv) for hand-written futures. The last task that polled for receiving, and it alone, is woken.
            ///
            /// # Errors
            ///
            /// As [`recv`](Self::recv).
            pub fn poll_recv(
                &self,
                cx: &mut std::task::Context<'_>,
                buf: &mut [u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.source.poll_io(cx, $crate::net::source::Direction::Read, |io| io.recv(buf))
            }

            /// [`recv`](Self::recv) without waiting.
            ///
            /// # Errors
            ///
            /// [`WouldBlock`](std::io::ErrorKind::WouldBlock) when nothing is there; else as [`recv`](Self::recv).
            pub fn try_recv(&self, buf: &mut [u8]) -> std::io::Result<usize> {
                self.source.try_io($crate::net::source::Direction::Read, |io| io.recv(buf))
            }

            /// The next datagram and where it comes from. What does not fit into `buf` is lost. Any number of tasks may wait; each
            /// datagram goes to one of them.
            ///
            /// # Errors
            ///
            /// As [`recv`](Self::recv).
            ///
            /// # Cancel safety
            ///
            /// A dropped future that was not ready has taken no datagram.
            pub async fn recv_from(&self, buf: &mut [u8]) -> std::io::Result<(usize, $Address)> {
                self.source.io($crate::net::source::Direction::Read, |io| io.recv_from(buf)).await
            }

            /// [`recv_from`](Self::recv_from) for hand-written futures. The last task that polled for receiving, and it alone, is woken.
            ///
            /// # Errors
            ///
            /// As [`recv`](Self::recv).
            pub fn poll_recv_from(
                &self,
                cx: &mut std::task::Context<'_>,
                buf: &mut [u8],
            ) -> std::task::Poll<std::io::Result<(usize, $Address)>> {
                self.source.poll_io(cx, $crate::net::source::Direction::Read, |io| io.recv_from(buf))
            }

            /// [`recv_from`](Self::recv_from) without waiting.
            ///
            /// # Errors
            ///
            /// As [`try_recv`](Self::try_recv).
            pub fn try_recv_from(&self, buf: &mut [u8]) -> std::io::Result<(usize, $Address)> {
                self.source.try_io($crate::net::source::Direction::Read, |io| io.recv_from(buf))
            }

            /// Ready when receiving is worth a try; else the task of `cx`, and only the last one that polled for receiving, is woken then.
            ///
            /// # Errors
            ///
            /// As [`ready`](Self::ready).
            pub fn poll_recv_ready(&self, cx: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
                self.source.poll_ready(cx, $crate::net::source::Direction::Read)
            }

            /// Ready when sending is worth a try; else the task of `cx`, and only the last one that polled for sending, is woken then.
            ///
            /// # Errors
            ///
            /// As [`ready`](Self::ready).
            pub fn poll_send_ready(&self, cx: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
                self.source.poll_ready(cx, $crate::net::source::Direction::Write)
            }

            /// This end's address.
            ///
            /// # Errors
            ///
            /// The system's.
            pub fn local_addr(&self) -> std::io::Result<$Address> {
                self.source.get_ref().local_addr()
            }

            /// The address it is connected to.
            ///
            /// # Errors
            ///
            /// `NotConnected`; else the system's.
            pub fn peer_addr(&self) -> std::io::Result<$Address> {
                self.source.get_ref().peer_addr()
            }
        }
    };
}
pub(super) use datagram_methods;
