export function trueFunc() {
    return true;
}
export function falseFunc() {
    return false;
}
