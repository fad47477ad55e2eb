fn main() {
    warpdrive::sandbox::dispatch_child();
}
